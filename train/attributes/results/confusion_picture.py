"""A confusion matrix as a picture: shares of each truth as shade, counts in the cells. PIL only."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synclip_core.files.atomic import save_png

from ..dataset import Group

CELL, LEFT, TOP, PAD = 84, 220, 116, 24
INK, GREY, PAPER = (28, 33, 40), (110, 118, 129), (255, 255, 255)
LOW, HIGH = np.array([246, 248, 250]), np.array([47, 111, 208])
MULTI_COLUMNS = ("there, said", "there, missed", "not there, said", "neither")


def draw_confusion(counts: np.ndarray, group: Group, title: str) -> Image.Image:
    """counts: of figures.confusion_rows. Rows are the truth; each is shaded by its own sum (of a multi group's row the
    two halves, "there" and "not there", each for itself)."""
    single = group.kind == "single"
    columns = group.labels if single else MULTI_COLUMNS
    rows = group.labels
    image = Image.new("RGB", (LEFT + CELL * len(columns) + PAD, TOP + CELL * len(rows) + PAD), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((PAD, PAD), title, fill=INK, font=ImageFont.load_default(22))
    draw.text((PAD, PAD + 30), "rows: truth; columns: said", fill=GREY, font=ImageFont.load_default(15))
    sums = counts.sum(1, keepdims=True) if single else np.repeat(counts.reshape(len(rows), 2, 2).sum(2), 2, axis=1)
    shares = counts / np.maximum(sums, 1)
    for k, name in enumerate(columns):
        _fit(draw, (LEFT + CELL * (k + 0.5), TOP - 10), name.replace("_", " "), CELL - 4, "ms")
    for i, name in enumerate(rows):
        _fit(draw, (LEFT - 12, TOP + CELL * (i + 0.5)), name.replace("_", " "), LEFT - PAD, "rm")
        for k in range(len(columns)):
            x, y = LEFT + CELL * k, TOP + CELL * i
            colour = tuple(int(v) for v in LOW + shares[i, k] * (HIGH - LOW))
            draw.rectangle((x + 1, y + 1, x + CELL - 2, y + CELL - 2), fill=colour)
            ink = PAPER if shares[i, k] > 0.55 else INK
            middle = x + CELL / 2
            draw.text((middle, y + 34), f"{shares[i, k]:.0%}", fill=ink, font=ImageFont.load_default(20), anchor="mm")
            count = f"{counts[i, k]:,}"
            draw.text((middle, y + 58), count, fill=ink, font=ImageFont.load_default(14), anchor="mm")
    return image


def save_confusion(path: Path, counts: np.ndarray, group: Group, title: str) -> None:
    save_png(draw_confusion(counts, group, title), path)


def _fit(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, width: float, anchor: str) -> None:
    """The largest size that fits."""
    for size in (18, 16, 14, 12, 10):
        font = ImageFont.load_default(size)
        if draw.textlength(text, font) <= width:
            break
    draw.text(at, text, fill=INK, font=font, anchor=anchor)
