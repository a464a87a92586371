"""The grid's results beside the paper's, as a table and as curves."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.ablate.variants import VARIANTS

FIGURES = ("acc@1", "acc@5", "acc@15", "r@1")
COLOURS = (
    (28, 33, 40), (207, 34, 46), (188, 76, 0), (154, 103, 0), (26, 127, 55), (9, 105, 218),
    (130, 80, 223), (191, 57, 137), (87, 96, 106), (27, 124, 131), (102, 51, 0),
)  # fmt: skip
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 1120, 560, 70, 60, 700, 490
FINE = 2  # drawn larger, then averaged: smooth lines
INK, GREY, FAINT, PAPER = (28, 33, 40), (110, 118, 129), (225, 228, 232), (255, 255, 255)

Results = Mapping[str, Sequence[dict[str, Any]]]  # variant -> a result.json a seed


def table(results: Results, group: str) -> list[dict[str, Any]]:
    """A row a variant: mean over the seeds, half of their range, and the paper's figure; `group` as in validation."""
    rows = []
    for name, runs in results.items():
        row: dict[str, Any] = {"variant": VARIANTS[name].label, "seeds": len(runs)}
        for k, figure in enumerate(FIGURES):
            values = [run["figures"][group][figure] for run in runs]
            spread = f" ±{(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
            row[figure] = f"{np.mean(values):.1f}{spread}"
            paper = VARIANTS[name].paper
            row[f"paper {figure}"] = paper[k] if paper else None
        rows.append(row)
    return rows


def curves(folders: Mapping[str, Sequence[Path]], group: str, figure: str) -> dict[str, list[tuple[int, list[float]]]]:
    """Of each variant: (step, the figure of each seed) as validated while it was trained."""
    drawn = {}
    for name, runs in folders.items():
        points: dict[int, list[float]] = {}
        for run in runs:
            for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if "validation" in row:
                    points.setdefault(row["step"], []).append(row["validation"][group][figure])
        drawn[name] = sorted(points.items())
    return drawn


def draw_curves(drawn: Mapping[str, list[tuple[int, list[float]]]], title: str, chance: float) -> Image.Image:
    """One line a variant through the mean of its seeds, a whisker from the lowest to the highest, named in the order
    in which they end."""
    steps = sorted({step for points in drawn.values() for step, _ in points}) or [0]
    highest = max((max(values) for points in drawn.values() for _, values in points), default=0.0)
    grid = 10 if highest > 40 else 5
    top = grid * math.ceil(max(highest, 2 * chance) / grid)
    image = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    small, large = (ImageFont.load_default(FINE * size) for size in (15, 20))

    def at(step: float, percent: float, aside: float = 0) -> tuple[float, float]:
        along = (step - steps[0]) / max(1, steps[-1] - steps[0])
        return FINE * (LEFT + along * (RIGHT - LEFT) + aside), FINE * (BOTTOM - percent / top * (BOTTOM - TOP))

    def text(place: tuple[float, float], words: str, fill: tuple[int, int, int], anchor: str) -> None:
        draw.text(place, words, fill=fill, font=small, anchor=anchor)

    draw.text((FINE * LEFT, FINE * 18), title, fill=INK, font=large)
    for percent in range(0, top + 1, grid):
        draw.line((at(steps[0], percent), at(steps[-1], percent)), fill=FAINT, width=FINE)
        text(at(steps[0], percent, -8), f"{percent} %", GREY, "rm")
    for step in steps:
        text((at(step, 0)[0], FINE * (BOTTOM + 8)), str(step), GREY, "ma")
    text((FINE * (LEFT + RIGHT) / 2, FINE * (BOTTOM + 30)), "steps", GREY, "ma")
    draw.line((at(steps[0], chance), at(steps[-1], chance)), fill=GREY, width=FINE)
    text(at(steps[-1], chance, 16), "chance", GREY, "lm")

    order = sorted(drawn, key=lambda name: -float(np.mean(drawn[name][-1][1])) if drawn[name] else 0)
    for row, name in enumerate(order):
        colour, bold = COLOURS[list(drawn).index(name) % len(COLOURS)], 4 if name == "ours" else 2
        aside = 2.0 * (row - len(order) / 2)  # so that whiskers stand side by side
        draw.line([at(step, float(np.mean(v)), aside) for step, v in drawn[name]], fill=colour, width=FINE * bold)
        for step, values in drawn[name]:
            draw.line((at(step, min(values), aside), at(step, max(values), aside)), fill=colour, width=FINE)
        x, y = FINE * (RIGHT + 80), FINE * (TOP + 34 * row)
        draw.line((x, y, x + FINE * 30, y), fill=colour, width=FINE * bold)
        text((x + FINE * 40, y), VARIANTS[name].label, INK, "lm")
    return image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
