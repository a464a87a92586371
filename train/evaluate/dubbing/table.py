"""The dubbing report's figures as a table: a column a kind of dub, a line a measure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from train.reading.score import ErrorRate

from ..tables import format_table, rounded
from .frechet import CLIP

STEPS = ("step_source", "step", "join_source", "join")


def mean_row(
    name: str, rows: Sequence[Mapping[str, Any]], judges: Sequence[str], apart: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Over the clips. apart: judge -> Frechet distances of all of them together."""
    told: dict[str, Any] = {"row": name}
    for judge in judges:
        seen = [row[judge] for row in rows]
        told[f"{judge}: conf"] = average(s.get("conf") for s in seen)
        told[f"{judge}: at 0"] = average(s.get("at_zero") for s in seen)
        right = [s["lag"] is not None and abs(s["lag"]) <= 1 for s in seen if "lag" in s]
        told[f"{judge}: lag 0 %"] = round(100 * float(np.mean(right)), 1) if right else None
        told[f"{judge}: identity"] = average(s["identity"] for s in seen)
        distances = apart.get(judge, {})
        told[f"{judge}: FD frames"] = average([distances.get("frames")])
        told[f"{judge}: FD motion"] = average([distances.get("motion")])
    told["mouth r"] = average(row.get("mouth") for row in rows)
    told["lips open"] = average(row.get("lips") for row in rows)
    told["lips move"] = average(row.get("moves") for row in rows)
    told["WER %"] = _word_errors(rows)
    told["SSIM"] = average(row.get("ssim") for row in rows)
    told["PSNR dB"] = average(row.get("psnr") for row in rows)
    for step in STEPS:
        told[step.replace("_", ", ")] = average(row.get(step) for row in rows)
    changed = [row["outside"] for row in rows if "outside" in row]
    told["changed outside"] = sum(changed) if changed else None
    return told


def _word_errors(rows: Sequence[Mapping[str, Any]]) -> float | None:
    errors = ErrorRate()
    for row in rows:
        if row.get("words"):
            errors.add(**row["words"])
    return rounded(errors.wer, 1) if errors.said else None


def average(values: Iterable[float | None]) -> float | None:
    """Of those that are numbers."""
    kept = [value for value in values if value is not None and np.isfinite(value)]
    return rounded(float(np.mean(kept))) if kept else None


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    nested = {key: plain(value) if isinstance(value, dict) else value for key, value in row.items()}
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in nested.items()}


def dubbing_text(report: Mapping[str, Any]) -> str:
    """The tables for people."""
    return "\n\n".join([*(_subset_text(report, subset) for subset in report["table"]), _legend(report)])


def _subset_text(report: Mapping[str, Any], subset: str) -> str:
    rows, samples = report["table"][subset], report["samples"][subset]
    measures = [name for name in rows[0] if name != "row"]
    lines = [{"": name, **{row["row"]: row[name] for row in rows}} for name in measures]
    counts = f"{report['clips'][subset]} clips, {samples['face_clips']} times {CLIP} frames for FD"
    return format_table(f"Dubbing, {subset} ({counts}, {samples['sentences']} sentences for WER)", lines)


def _legend(report: Mapping[str, Any]) -> str:
    people = ", ".join(f"{known['people']} for {name}" for name, known in report["judges"].items())
    return "\n".join(
        [
            "FD: Frechet distance of the judge's own tokens, not Inception's or I3D's, from those of the source clips:",
            f"of single frames, and of how they move within {CLIP}. reference: every second stretch of the source from",
            "those between, half as many; a dub shares heads and light with its source, so it may come below.",
            f"identity: cosine with the source's token, the mean of the split's people taken off ({people});",
            "reference: all other people. lips open, move: mean and deviation of their opening within a clip, in units",
            "of the distance of the eyes; shut lips are some way apart too, more with some people.",
            "WER: of a reader of the tokens that drive the dub; sentences share words, so untouched shows the chance.",
            "SSIM, PSNR: within the pasted mask.",
            "step, join: change in the hole to the next frame, in grey levels, within a segment and between two.",
        ]
    )
