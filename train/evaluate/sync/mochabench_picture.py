"""The scatter picture of `train.evaluate mochabench`: confidence against LSE-C, lag against SyncNet's offset."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synclip_core.sync.verdict import CANNOT_TELL

from .mochabench import CLEAR, Judged
from .provider import View

FINE = 2  # drawn at twice the size that it is laid out in
WIDTH, HEIGHT = 1240, 620
INK, GREY, FAINT, PAPER, PANEL = (28, 33, 40), (110, 118, 129), (208, 213, 219), (255, 255, 255), (246, 248, 250)
COLOURS = (
    (9, 105, 218), (26, 127, 55), (188, 76, 0), (130, 80, 223),
    (207, 34, 46), (27, 124, 131), (154, 103, 0), (191, 57, 137),
)  # fmt: skip
Box = tuple[float, float, float, float]  # left, top, width, height in layout units


class _Axes:
    """One panel whose points are given in data units."""

    def __init__(self, draw: ImageDraw.ImageDraw, box: Box, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.draw, self.box, self.x, self.y = draw, box, x, y
        left, top, width, height = box
        draw.rectangle([FINE * v for v in (left, top, left + width, top + height)], fill=PANEL)

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, width, height = self.box
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return FINE * (left + across * width), FINE * (top + (1 - up) * height)

    def dot(self, x: float, y: float, colour: tuple[int, int, int], hollow: bool) -> None:
        across, down = self.at(x, y)
        box = (across - 4.5 * FINE, down - 4.5 * FINE, across + 4.5 * FINE, down + 4.5 * FINE)
        self.draw.ellipse(box, fill=PAPER if hollow else colour, outline=colour, width=FINE)

    def grid(self, xs: Sequence[float], ys: Sequence[float], names: tuple[str, str]) -> None:
        left, top, width, height = self.box
        for x in xs:
            self.draw.line([self.at(x, self.y[0]), self.at(x, self.y[1])], fill=FAINT, width=1)
            _text(self.draw, (self.at(x, self.y[0])[0] / FINE, top + height + 8), f"{x:g}", 13, GREY, "ma")
        for y in ys:
            self.draw.line([self.at(self.x[0], y), self.at(self.x[1], y)], fill=FAINT, width=1)
            _text(self.draw, (left - 8, self.at(self.x[0], y)[1] / FINE), f"{y:g}", 13, GREY, "rm")
        _text(self.draw, (left + width, top + height + 28), names[0], 14, INK, "ra")
        _text(self.draw, (left, top - 10), names[1], 14, INK, "ls")


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, fill: tuple[int, int, int], anchor: str
) -> None:
    draw.text((FINE * at[0], FINE * at[1]), text, fill=fill, font=ImageFont.load_default(FINE * size), anchor=anchor)


def draw_scatter(view: View, k: int, done: Sequence[Judged]) -> Image.Image:
    """An RGB picture of 2480 x 1240 pixels; k: of the view. Hollow: no answer on our side."""
    image = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    _text(draw, (60, 20), f"MoChaBench: SyncLip ({view.name}, sees {view.sees} frames) and SyncNet", 20, INK, "la")
    categories = sorted({j.clip.category for j in done})
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(categories)}
    known = [j for j in done if j.said[k].confidence is not None and j.clip.lse_c is not None]
    highest = max([0.1, *(j.said[k].confidence or 0 for j in known)])
    furthest = max([8.0, *(j.clip.lse_c or 0 for j in known)]) + 0.5
    left = _Axes(draw, (60, 90, 460, 440), (0, furthest), (0, 1.05 * highest))
    left.grid(range(0, int(furthest) + 1, 2), _steps(highest), ("LSE-C (SyncNet)", "confidence (SyncLip)"))
    for j in known:
        hollow = j.said[k].verdict == CANNOT_TELL
        left.dot(j.clip.lse_c or 0, j.said[k].confidence or 0, colours[j.clip.category], hollow)
    lags = [
        (j, j.clip.offset, j.said[k].best_lag_frames)
        for j in done
        if j.clip.sure and j.clip.offset is not None and j.said[k].best_lag_frames is not None
    ]
    reach = max([4, *(max(abs(offset), abs(lag or 0)) for _, offset, lag in lags)]) + 1
    right = _Axes(draw, (590, 90, 330, 440), (-reach, reach), (-reach, reach))
    names = ("SyncNet's offset, frames", f"lag, frames (LSE-C over {CLEAR:g}, one face)")
    marks = range(-reach + 1, reach, 1 if reach < 8 else 2)
    right.grid(marks, marks, names)
    spread = np.random.default_rng(0)  # points of one whole lag would hide one another
    for j, offset, lag in lags:
        x, y = spread.uniform(-0.3, 0.3, 2)
        right.dot(offset + x, (lag or 0) + y, colours[j.clip.category], j.said[k].verdict == CANNOT_TELL)
    for i, name in enumerate(categories):
        draw.ellipse([FINE * v for v in (945, 95 + 26 * i, 955, 105 + 26 * i)], fill=colours[name])
        _text(draw, (965, 100 + 26 * i), name, 13, INK, "lm")
    _text(draw, (945, 110 + 26 * len(categories)), "hollow: we cannot tell", 13, GREY, "lm")
    return image


def _steps(highest: float) -> list[float]:
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0) if highest / s <= 8)
    return [step * i for i in range(int(highest / step) + 1)]
