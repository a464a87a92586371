"""The picture of `synclip score --plot`: waveform, lag and confidence, distance curve, worst frames. PIL only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..clock import FPS
from ..errors import SyncLipError
from ..files.atomic import save_png
from .report import ScoreReport

SCALE = 2  # drawn at twice the size that it is laid out in, so that it is crisp on dense screens
WIDTH, HEIGHT = 1200, 860
INK, GREY, FAINT, PAPER, PANEL = (28, 33, 40), (110, 118, 129), (208, 213, 219), (255, 255, 255), (246, 248, 250)
BLUE, GREEN, AMBER, RED = (47, 111, 208), (38, 139, 80), (201, 120, 14), (198, 52, 48)
_COLOURS = {
    "in_sync": GREEN, "audio_early": AMBER, "audio_late": AMBER, "mixed": AMBER, "drift": AMBER,
    "does_not_follow": AMBER, "cannot_tell": GREY, "error": RED,
}  # fmt: skip

Thumbnail = tuple[float, Image.Image]


def save_plot(report: ScoreReport, path: str | os.PathLike[str]) -> None:
    """Draws `report`, with the sound and the worst frames read from its file where that can be read. Writes a PNG."""
    waveform: np.ndarray | None = None
    thumbnails: list[Thumbnail] = []
    if report.verdict != "error":
        from ..media.audio import read_audio

        try:
            waveform = read_audio(report.audio or report.file, track=report.audio_track or 0)
            thumbnails = worst_frames(report)
        except SyncLipError:  # no audio track, say; the report itself tells what is wrong
            pass
    image = draw_report(report, waveform, thumbnails)
    save_png(image, path)


def worst_ticks(report: ScoreReport, count: int = 6) -> list[int]:
    """The ticks to show, worst first: the report's own, else the middles of the windows furthest off, 1 s apart."""
    if report.worst_ticks:
        return report.worst_ticks[:count]
    off = [w for w in report.windows if w.get("lag_frames") is not None]
    off.sort(key=lambda w: (-abs(w["lag_frames"]), -(w.get("confidence") or 0)))
    ticks: list[int] = []
    for window in off:
        tick = int((window["start_s"] + window["end_s"]) / 2 * FPS)
        if len(ticks) < count and all(abs(tick - other) >= FPS for other in ticks):
            ticks.append(tick)
    return ticks


def worst_frames(
    report: ScoreReport, count: int = 6, max_side: int = 480, each: Callable[[], None] | None = None
) -> list[Thumbnail]:
    """(time in s, picture) of `worst_ticks`, in the order of the clip. Decodes the file up to the last of them.

    each: called before every frame; what it raises (a cancel, say) ends the work.
    """
    from ..media.video import iter_ticks

    wanted = set(worst_ticks(report, count))
    found: list[Thumbnail] = []
    if not wanted:
        return found
    last = max(wanted)
    reader = iter_ticks(report.file, max_side=max_side)
    try:
        for tick, frame in reader:
            if each is not None:
                each()
            if tick in wanted:
                found.append((tick / FPS, Image.fromarray(frame.image)))
            if tick >= last:
                break
    finally:
        reader.close()
    return found


def draw_report(
    report: ScoreReport, waveform: np.ndarray | None = None, thumbnails: Sequence[Thumbnail] = ()
) -> Image.Image:
    """waveform: float [N], -1..1, spanning the clip. Returns an RGB picture of 2400 x 1720 pixels."""
    canvas = _Canvas()
    duration = report.duration_s or max((w["end_s"] for w in report.windows), default=1.0)
    _header(canvas, report)
    _waveform(canvas, (60, 120, 800, 110), waveform, duration)
    _lags(canvas, (60, 270, 800, 190), report, duration)
    _confidences(canvas, (60, 500, 800, 90), report, duration)
    _curve(canvas, (930, 120, 230, 470), report)
    _strip(canvas, (60, 660, 1100, 170), thumbnails)
    return canvas.image


Box = tuple[float, float, float, float]  # left, top, width, height in layout units


class _Canvas:
    """PIL's drawing in layout units."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float = 1) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=max(1, round(width * SCALE)), joint="curve")

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        left, right = sorted((left * SCALE, right * SCALE))
        top, bottom = sorted((top * SCALE, bottom * SCALE))
        self._draw.rectangle((left, top, right, bottom), fill=colour)

    def dot(self, x: float, y: float, radius: float, colour: tuple[int, int, int], hollow: bool = False) -> None:
        box = tuple(v * SCALE for v in (x - radius, y - radius, x + radius, y + radius))
        self._draw.ellipse(box, fill=PAPER if hollow else colour, outline=colour, width=SCALE)

    def text(
        self, x: float, y: float, text: str, size: float = 13, colour: tuple[int, int, int] = INK, anchor: str = "la"
    ) -> None:
        self._draw.text((x * SCALE, y * SCALE), text, fill=colour, font=_font(text, size * SCALE), anchor=anchor)

    def text_width(self, text: str, size: float) -> float:
        return _font(text, size * SCALE).getlength(text) / SCALE

    def panel(self, box: Box, title: str) -> None:
        left, top, width, height = box
        self.rectangle(left, top, left + width, top + height, PANEL)
        self.text(left, top - 8, title, 13, GREY, "ls")


def _font(text: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which knows ASCII only; for other letters one of the system's, where there is one."""
    if not text.replace("…", "").isascii():
        for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf"):
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _header(canvas: _Canvas, report: ScoreReport) -> None:
    colour = _COLOURS[report.verdict]
    canvas.rectangle(0, 0, 12, 84, colour)
    name, size = os.path.basename(report.file) or report.file, 15
    canvas.text(60, 18, _fit(canvas, name, size, 1080), size, GREY)
    words = report.words[:1].upper() + report.words[1:]
    large = 30 if canvas.text_width(words, 30) < 700 else 18
    canvas.text(60, 42, _fit(canvas, words, large, 1080), large, colour)
    facts = []
    if report.lag_frames is not None:
        facts.append(f"lag {report.lag_frames:+g} frames" if report.lag_frames else "lag 0 frames")
    facts += [f"{name} {value:.3f}" for name in ("score", "confidence") if (value := getattr(report, name)) is not None]
    if report.duration_s is not None:
        facts.append(f"{report.duration_s:.1f} s")
    if facts and large == 30:
        canvas.text(1160, 52, "   ".join(facts), 15, INK, "ra")


def _fit(canvas: _Canvas, text: str, size: float, width: float) -> str:
    while len(text) > 8 and canvas.text_width(text, size) > width:
        middle = len(text) // 2
        text = text[: middle - 2] + "…" + text[middle + 2 :]
    return text


def _waveform(canvas: _Canvas, box: Box, waveform: np.ndarray | None, duration: float) -> None:
    canvas.panel(box, "voice")
    left, top, width, height = box
    if waveform is None or not len(waveform):
        canvas.text(left + width / 2, top + height / 2, "no sound", 14, GREY, "mm")
        return
    columns = int(width * SCALE)
    edges = np.linspace(0, len(waveform), columns + 1).astype(int)
    loudest = max(float(np.abs(waveform).max()), 1e-3)
    for column, (start, end) in enumerate(pairwise(edges)):
        part = waveform[start : max(end, start + 1)] / loudest * (height / 2 - 4)
        x, middle = left + column / SCALE, top + height / 2
        canvas.line([(x, middle - float(part.max())), (x, middle - float(part.min()) + 0.5)], BLUE, 0.5)
    _seconds(canvas, box, duration, labels=False)


def _seconds(canvas: _Canvas, box: Box, duration: float, labels: bool) -> None:
    """Ticks at a round step, at most about ten."""
    left, top, width, height = box
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((s for s in steps if duration / s <= 11), 7200)
    for k in range(int(duration / step) + 1):
        x = left + k * step / duration * width
        canvas.line([(x, top + height), (x, top + height + 4)], GREY, 0.5)
        if labels:
            canvas.text(x, top + height + 7, f"{k * step:g} s", 12, GREY, "ma")


def _lags(canvas: _Canvas, box: Box, report: ScoreReport, duration: float) -> None:
    canvas.panel(box, "lag along the clip (frames at 25 fps; above the line the audio is early, below it late)")
    left, top, width, height = box
    lags = [abs(s[k]) / 40 for s in report.stretches for k in ("lag_ms", "lag_end_ms") if s.get(k) is not None]
    reach = max(15.0, len(report.curve) // 2, *(1.1 * lag for lag in lags))

    def at(seconds: float, lag: float) -> tuple[float, float]:
        return left + seconds / duration * width, top + height / 2 - lag / reach * (height / 2 - 8)

    _states(canvas, box, report, duration)
    # One frame either way counts as in sync.
    canvas.rectangle(left, at(0, 1)[1], left + width, at(0, -1)[1], (226, 242, 232))
    step = 5 * max(1, round(reach / 15))
    for lag in range(-3 * step, 3 * step + 1, step):
        y = at(0, lag)[1]
        canvas.line([(left, y), (left + width, y)], FAINT, 0.5)
        canvas.text(left - 8, y, f"{lag:+d}" if lag else "0", 12, GREY, "rm")
    for s in report.stretches:
        if s["lag_ms"] is not None:
            ends = at(s["start_s"], s["lag_ms"] / 40), at(s["end_s"], s["lag_end_ms"] / 40)
            canvas.line(ends, _COLOURS[s["state"]], 3)
    if report.lag_frames is not None and not report.stretches:
        y = at(0, report.lag_frames)[1]
        canvas.line([(left, y), (left + width, y)], _COLOURS[report.verdict], 1)
    centres = [(w["start_s"] + w["end_s"]) / 2 for w in report.windows]
    known = [(c, w) for c, w in zip(centres, report.windows, strict=True) if w.get("lag_frames") is not None]
    for (before, a), (after, b) in pairwise(known):
        if after - before < 1.5:
            canvas.line([at(before, a["lag_frames"]), at(after, b["lag_frames"])], BLUE, 1)
    for centre, window in known:
        x, y = at(centre, window["lag_frames"])
        canvas.dot(x, y, 3.5, BLUE if abs(window["lag_frames"]) <= 1 else RED)
    for centre, window in zip(centres, report.windows, strict=True):
        if window.get("lag_frames") is None:
            canvas.dot(left + centre / duration * width, top + height - 6, 2, FAINT)
    if not known:
        canvas.text(left + width / 2, top + height * 0.3, "no stretch has a reliable lag of its own", 14, GREY, "mm")
    _seconds(canvas, box, duration, labels=False)


# stretches without a lag: colour and name on the picture
_STATES = {
    "does_not_follow": ((250, 225, 222), "does not follow"),
    "still": ((228, 226, 244), "still picture"),
    "moves_in_silence": ((252, 236, 214), "no voice, mouth moves"),
    "no_face": ((234, 236, 239), "no face"),
    "no_speech": ((234, 236, 239), "no speech"),
    "cannot_tell": ((240, 242, 244), "?"),
}


def _states(canvas: _Canvas, box: Box, report: ScoreReport, duration: float) -> None:
    """Stretches in which no lag is told, as named bands behind the lags."""
    left, top, width, height = box
    for s in report.stretches:
        if s["state"] in _STATES:
            colour, name = _STATES[s["state"]]
            x0, x1 = (left + min(s[k] / duration, 1) * width for k in ("start_s", "end_s"))
            canvas.rectangle(x0, top, x1, top + height, colour)
            if canvas.text_width(name, 12) < x1 - x0 - 6:
                canvas.text((x0 + x1) / 2, top + 12, name, 12, GREY, "mm")


def _confidences(canvas: _Canvas, box: Box, report: ScoreReport, duration: float) -> None:
    canvas.panel(box, "contrast: how far the best lag stands out (pale: no reliable speech or face there)")
    left, top, width, height = box
    values = [w.get("confidence") or 0.0 for w in report.windows]
    highest = max([*values, 1e-3])
    for window, value, following in zip(report.windows, values, [*report.windows[1:], None], strict=False):
        # Windows overlap: each bar stands at its window's centre and is as wide as the step to the next.
        centre = (window["start_s"] + window["end_s"]) / 2
        step = (following["start_s"] - window["start_s"]) if following else window["end_s"] - window["start_s"]
        half = min(step, window["end_s"] - window["start_s"], 0.4) * 0.4
        x0, x1 = (left + np.clip(t / duration, 0, 1) * width for t in (centre - half, centre + half))
        colour = FAINT if window.get("lag_frames") is None else BLUE
        canvas.rectangle(x0, top + height - value / highest * (height - 8), x1, top + height, colour)
    if values:
        canvas.text(left - 8, top + 8, f"{highest:.2f}", 12, GREY, "rm")
        canvas.text(left - 8, top + height, "0", 12, GREY, "rm")
    _seconds(canvas, box, duration, labels=True)


def _curve(canvas: _Canvas, box: Box, report: ScoreReport) -> None:
    canvas.panel(box, "mismatch of mouth and voice, by lag")
    left, top, width, height = box
    known = [(i - len(report.curve) // 2, v) for i, v in enumerate(report.curve) if v is not None and np.isfinite(v)]
    if not known:
        canvas.text(left + width / 2, top + height / 2, "no curve", 14, GREY, "mm")
        return
    reach = len(report.curve) // 2
    low, high = min(v for _, v in known), max(v for _, v in known)
    span = max(high - low, 0.05)  # a flat curve is to look flat

    def at(lag: float, value: float) -> tuple[float, float]:
        return left + 12 + (lag + reach) / (2 * reach) * (width - 24), top + 40 + (high - value) / span * (height - 80)

    step = 5 * max(1, round(reach / 15))
    for lag in range(-(reach // step) * step, reach + 1, step):
        x = at(lag, low)[0]
        canvas.line([(x, top), (x, top + height)], GREY if lag == 0 else FAINT, 0.5)
        canvas.text(x, top + height + 7, f"{lag:+d}" if lag else "0", 12, GREY, "ma")
    for a, b in pairwise(known):
        if b[0] == a[0] + 1:
            canvas.line([at(*a), at(*b)], INK, 1.5)
    best = min(known, key=lambda point: point[1])
    x, y = at(*best)
    colour = _COLOURS[report.verdict]
    canvas.dot(x, y, 5, colour)
    name = f"{best[0]:+d}" if best[0] else "0"
    canvas.text(min(max(x, left + 40), left + width - 40), y + 12, f"{best[1]:.3f} at {name}", 13, colour, "ma")
    canvas.text(left + 8, top + 10, f"{high:.3f}", 12, GREY)


def _strip(canvas: _Canvas, box: Box, thumbnails: Sequence[Thumbnail]) -> None:
    left, top, width, height = box
    canvas.text(left, top - 8, "where the mouth fits the voice least", 13, GREY, "ls")
    if not thumbnails:
        canvas.rectangle(left, top, left + width, top + height, PANEL)
        canvas.text(left + width / 2, top + height / 2, "no frames to show", 14, GREY, "mm")
        return
    gap, slots = 12, max(6, len(thumbnails))
    cell = (width - gap * (slots - 1)) / slots
    for k, (seconds, picture) in enumerate(thumbnails):
        x = left + k * (cell + gap)
        canvas.rectangle(x, top, x + cell, top + height - 22, PANEL)
        room = (cell * SCALE, (height - 22) * SCALE)
        ratio = min(room[0] / picture.width, room[1] / picture.height)
        size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        corner = (round(x * SCALE + (room[0] - size[0]) / 2), round(top * SCALE + (room[1] - size[1]) / 2))
        canvas.image.paste(small, corner)
        canvas.text(x + cell / 2, top + height - 16, f"{seconds:.2f} s", 13, INK, "ma")
