"""Tables of what the evidence promises, and the report as text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from synclip_core.attributes.calibration import calibration_error
from synclip_core.sync.along.evidence import Evidence

from ...tables import format_table
from .fit import probabilities
from .trials import KINDS, LENGTHS, Trial


def answer_rows(trials: Sequence[Trial], evidence: Evidence) -> list[dict[str, Any]]:
    """Of each length and kind: answered and right, wrong, and what could be answered at 1 % error."""
    rows = []
    p = probabilities(trials, evidence)
    for seconds in LENGTHS:
        for kind in KINDS:
            here = [(t, v) for t, v in zip(trials, p, strict=True) if t.seconds == seconds and t.kind == kind]
            if not here:
                continue
            told = [v >= evidence.answer for _, v in here]
            right = [t.right for t, _ in here]
            row = {"length": f"{seconds} s", "sound": kind, "cuts": len(here)}
            row["answered and right %"] = _percent([a and r for a, r in zip(told, right, strict=True)])
            row["wrong %"] = _percent([a and not r for a, r in zip(told, right, strict=True)])
            row["called in sync %"] = _percent([a and abs(t.lag) <= 1 for a, (t, _) in zip(told, here, strict=True)])
            rows.append(row)
    return rows


def reliability_rows(trials: Sequence[Trial], evidence: Evidence) -> list[dict[str, Any]]:
    """How often lags of a stated probability are right."""
    p, right = probabilities(trials, evidence), np.array([t.right for t in trials])
    rows: list[dict[str, Any]] = []
    edges = [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0001]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = (p >= low) & (p < high)
        if here.any():
            rows.append(
                {
                    "stated": f"{low:g} to {min(high, 1):g}",
                    "cuts": int(here.sum()),
                    "mean stated %": _percent(p[here]),
                    "right %": _percent(right[here]),
                }
            )
    rows.append({"stated": "calibration error", "cuts": len(p), "right %": round(100 * calibration_error(p, right), 2)})
    return rows


def _percent(values: Any) -> float:
    return round(100 * float(np.mean(values)), 1)


def evidence_text(report: dict[str, Any]) -> str:
    """For people."""
    known = report["evidence"]
    lines = [f"{name} = {known[name]}" for name in ("share", "margin", "answer", "doubt", "logit")]
    lines.append(f"clips {report['clips']}, with a lag of their own {report['with_a_lag']}")
    lines.append(f"best lag 0 under foreign sound: {100 * report['ends_vote']:.1f} % (chance 9.7)")
    lines.append(f"largest doubts in clips with a lag: {report['largest_doubts']}")
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
