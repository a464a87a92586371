"""The grid's results beside the paper's, as a table and as curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.ablation.variants import VARIANTS

FIGURES = ("acc@1", "acc@5", "acc@15", "r@1")
COLOURS = (
    (28, 33, 40), (207, 34, 46), (188, 76, 0), (154, 103, 0), (26, 127, 55), (9, 105, 218),
    (130, 80, 223), (191, 57, 137), (87, 96, 106), (27, 124, 131), (102, 51, 0),
)  # fmt: skip
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 1100, 560, 70, 60, 700, 500
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
    """One line a variant through the mean of its seeds, a whisker from the lowest to the highest."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    small, last = ImageFont.load_default(15), max((s for points in drawn.values() for s, _ in points), default=1)
    draw.text((LEFT, 18), title, fill=INK, font=ImageFont.load_default(20))

    def at(step: float, percent: float) -> tuple[float, float]:
        return LEFT + step / last * (RIGHT - LEFT), BOTTOM - percent / 100 * (BOTTOM - TOP)

    for percent in range(0, 101, 20):
        draw.line((at(0, percent), at(last, percent)), fill=FAINT)
        draw.text((LEFT - 8, at(0, percent)[1]), f"{percent} %", fill=GREY, font=small, anchor="rm")
    draw.line((at(0, chance), at(last, chance)), fill=GREY)
    draw.text((LEFT + 6, at(0, chance)[1] - 3), "chance", fill=GREY, font=small, anchor="ls")
    draw.text((RIGHT, BOTTOM + 12), f"{last} steps", fill=GREY, font=small, anchor="ra")
    for k, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[k % len(COLOURS)]
        draw.line([at(step, float(np.mean(v))) for step, v in points], fill=colour, width=3 if name == "ours" else 2)
        for step, values in points:
            draw.line((at(step, min(values)), at(step, max(values))), fill=colour)
        y = TOP + 34 * k
        draw.line((RIGHT + 30, y, RIGHT + 60, y), fill=colour, width=3)
        draw.text((RIGHT + 70, y), VARIANTS[name].label, fill=INK, font=small, anchor="lm")
    return image
