"""Attributes over time at the size of a node: a row a label. Dark, as ComfyUI is."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...synclip_core.attributes.report import AttributeReport, LabelResult
from ...synclip_core.clock import FPS
from ..shared.panel import AMBER, BLUE, FAINT, GREEN, GREY, INK, PANEL, PAPER, WIDTH, draw_words, write

ROW, HEAD, FOOT = 60, 116, 36
LEFT, RIGHT = 196, 536  # of the curves; the label stands before them, the figure after them
SHOWN = 12  # rows; a head with dozens of labels shows those that hold most


def draw_attributes(report: AttributeReport) -> Image.Image:
    """RGB, 640 wide, a row a label: its probability along the clip, brighter where it holds."""
    rows = shown_rows(report.labels)
    image = Image.new("RGB", (WIDTH, HEAD + ROW * max(1, len(rows)) + FOOT), PAPER)
    draw = ImageDraw.Draw(image)
    colour = (AMBER if report.warnings else GREEN) if report.seen else GREY
    draw.rectangle((0, 0, 10, image.height), fill=colour)
    words = report.words.split("; ")[0] if len(report.words) > 80 else report.words
    draw_words(draw, words[:1].upper() + words[1:], colour)
    write(draw, 24, 84, _facts(report, len(rows)), 18, GREY)
    for place, k in enumerate(rows):
        _row(draw, HEAD + ROW * place, report.labels[k], report.probabilities[:, k])
    bottom = HEAD + ROW * len(rows) + 6
    write(draw, LEFT, bottom, "0 s", 16, GREY)
    write(draw, RIGHT, bottom, f"{report.duration_s or 0:.1f} s", 16, GREY, "ra")
    return image


def shown_rows(labels: Sequence[LabelResult]) -> list[int]:
    """Indices of the labels to show, in the head's order."""
    if len(labels) <= SHOWN:
        return list(range(len(labels)))
    ranked = sorted(range(len(labels)), key=lambda k: labels[k].probability or 0.0, reverse=True)
    return sorted(ranked[:SHOWN])


def _facts(report: AttributeReport, rows: int) -> str:
    facts = [f"face in {100 * (report.face_share or 0):.0f} % of {report.duration_s or 0:.1f} s"]
    if rows < len(report.labels):
        facts.append(f"{rows} of {len(report.labels)} labels")
    return ", ".join(facts) + "; probability over time, dashed: threshold"


def _row(draw: ImageDraw.ImageDraw, top: int, result: LabelResult, values: np.ndarray) -> None:
    high, low = top + 6, top + ROW - 8
    draw.rectangle((LEFT, high, RIGHT, low), fill=PANEL)
    name = result.label.replace("_", " ")
    font = next((f for f in map(ImageFont.load_default, (20, 17, 14)) if draw.textlength(name, f) <= LEFT - 34), None)
    ink = INK if result.share else GREY
    draw.text((24, (high + low) / 2), name, fill=ink, font=font or ImageFont.load_default(12), anchor="lm")
    figure = result.share if result.per == "frame" else result.probability
    write(draw, RIGHT + 14, (high + low) / 2, "-" if figure is None else f"{100 * figure:.0f} %", 20, ink, "lm")

    def y(value: float) -> float:
        return low - value * (low - high)

    holds = _holds(result, len(values))
    points = []
    for x, part in enumerate(np.array_split(np.arange(len(values)), min(len(values), RIGHT - LEFT))):
        seen = part[~np.isnan(values[part])]
        left = LEFT + x * (RIGHT - LEFT) / min(len(values), RIGHT - LEFT)
        right = LEFT + (x + 1) * (RIGHT - LEFT) / min(len(values), RIGHT - LEFT)
        if not len(seen):
            points.append(None)
            continue
        level = y(float(values[seen].mean()))
        draw.rectangle((left, level, max(left, right - 1), low), fill=GREEN if holds[seen].mean() >= 0.5 else FAINT)
        points.append(((left + right) / 2, level))
    for a, b in zip(points, points[1:], strict=False):
        if a and b:
            draw.line((*a, *b), fill=BLUE, width=2)
    if result.threshold:
        for x in range(LEFT, RIGHT, 10):
            draw.line((x, y(result.threshold), x + 4, y(result.threshold)), fill=GREY, width=1)


def _holds(result: LabelResult, length: int) -> np.ndarray:
    """bool [length], from the spans."""
    holds = np.zeros(length, bool)
    for start, end in result.spans:
        holds[round(start * FPS) : round(end * FPS)] = True
    return holds
