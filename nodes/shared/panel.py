"""A score at the size of a node: the verdict in large letters and the curve under it. Dark, as ComfyUI is."""

from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from ...synclip_core.sync.report import ScoreReport

WIDTH, HEIGHT = 640, 416
PAPER, PANEL, INK, GREY, FAINT = (30, 31, 34), (40, 42, 46), (232, 234, 237), (160, 166, 174), (78, 82, 88)
GREEN, AMBER, RED, BLUE = (88, 200, 130), (240, 170, 60), (236, 100, 92), (110, 170, 250)
COLOURS = {
    "in_sync": GREEN, "audio_early": AMBER, "audio_late": AMBER, "mixed": AMBER, "drift": AMBER,
    "does_not_follow": AMBER, "cannot_tell": GREY, "error": RED,
}  # fmt: skip
LEFT, TOP, RIGHT, BOTTOM = 24, 150, 616, 350


def draw_panel(report: ScoreReport) -> Image.Image:
    """RGB, 640 x 416."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    colour = COLOURS[report.verdict]
    draw.rectangle((0, 0, 10, HEIGHT), fill=colour)
    words = report.words[:1].upper() + report.words[1:]
    draw_words(draw, words, colour)
    draw.text((LEFT, 82), _facts(report), fill=INK, font=ImageFont.load_default(22))
    draw.text((LEFT, 118), "mismatch of mouth and voice, by lag in frames", fill=GREY, font=ImageFont.load_default(18))
    _curve(draw, report, colour)
    return image


def draw_message(words: str, colour: tuple[int, int, int]) -> Image.Image:
    """What a node did or decided. RGB, 640 x 112."""
    image = Image.new("RGB", (WIDTH, 112), PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 10, 112), fill=colour)
    lines = _wrapped(draw, words[:1].upper() + words[1:], ImageFont.load_default(26))[:3]
    for k, line in enumerate(lines):
        y = 56 + 32 * (k - (len(lines) - 1) / 2)
        draw.text((LEFT, y), line, fill=colour, font=ImageFont.load_default(26), anchor="lm")
    return image


def draw_words(draw: ImageDraw.ImageDraw, words: str, colour: tuple[int, int, int]) -> None:
    """One line where it fits, two smaller ones where it does not."""
    for size in (44, 36, 30):
        font = ImageFont.load_default(size)
        if draw.textlength(words, font) <= RIGHT - LEFT:
            draw.text((LEFT, 48), words, fill=colour, font=font, anchor="lm")
            return
    font = ImageFont.load_default(24)
    for k, line in enumerate(_wrapped(draw, words, font)[:2]):
        draw.text((LEFT, 32 + 30 * k), line, fill=colour, font=font, anchor="lm")


def _wrapped(draw: ImageDraw.ImageDraw, words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in words.split():
        if lines[-1] and draw.textlength(f"{lines[-1]} {word}", font) > RIGHT - LEFT:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _facts(report: ScoreReport) -> str:
    facts = []
    if report.lag_frames is not None:
        sign = "+" if report.lag_frames > 0 else ""
        facts.append(f"lag {sign}{report.lag_frames:g} frame{'' if abs(report.lag_frames) == 1 else 's'}")
    if report.score is not None:
        facts.append(f"score {report.score:.2f}")
    if report.confidence is not None:
        facts.append(f"confidence {report.confidence:.2f}")
    if report.duration_s is not None:
        facts.append(f"{report.duration_s:.1f} s")
    return "    ".join(facts)


def _curve(draw: ImageDraw.ImageDraw, report: ScoreReport, colour: tuple[int, int, int]) -> None:
    draw.rectangle((LEFT, TOP, RIGHT, BOTTOM), fill=PANEL)
    reach = len(report.curve) // 2
    known = [(k - reach, value) for k, value in enumerate(report.curve) if value is not None]
    font = ImageFont.load_default(18)
    if not known or not reach:
        draw.text(((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), "no curve", fill=GREY, font=font, anchor="mm")
        return
    low, high = min(v for _, v in known), max(v for _, v in known)
    span = max(high - low, 0.05)  # a flat curve is to look flat

    def at(lag: float, value: float) -> tuple[float, float]:
        x = LEFT + 20 + (lag + reach) / (2 * reach) * (RIGHT - LEFT - 40)
        return x, TOP + 20 + (high - value) / span * (BOTTOM - TOP - 40)

    step = next((s for s in (5, 10, 25) if 2 * reach / s <= 12), 50)
    for lag in range(-(reach // step) * step, reach + 1, step):
        x = at(lag, low)[0]
        draw.line((x, TOP, x, BOTTOM), fill=GREY if lag == 0 else FAINT, width=2 if lag == 0 else 1)
        draw.text((x, BOTTOM + 6), f"{lag:+d}" if lag else "0", fill=GREY, font=font, anchor="ma")
    for a, b in pairwise(known):
        if b[0] == a[0] + 1:
            draw.line((*at(*a), *at(*b)), fill=BLUE, width=4)
    x, y = at(*min(known, key=lambda point: point[1]))
    draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=colour, outline=PAPER, width=2)
    draw.text((LEFT, BOTTOM + 28), "audio late", fill=GREY, font=font)
    draw.text((RIGHT, BOTTOM + 28), "audio early", fill=GREY, font=font, anchor="ra")


def write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    size: int,
    colour: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    """A line of text in the panels' font; anchor: as PIL has it, the left end of the top unless given."""
    draw.text((x, y), text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)
