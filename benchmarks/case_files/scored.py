"""Stretches that were told against the truth: recall, precision, errors of edges and lags."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synclip_core.sync.along.stretches import CANNOT_TELL, IN_SYNC, MATCHED, NO_SPEECH, Stretch

from .made import DRIFT, LAG, SAME, Truth

OVERLAP = 0.5  # of the union, from which two stretches are one (evaluation.md, Timeline)


@dataclass
class Tally:
    """Of one kind of damage."""

    truths: int = 0
    found: int = 0
    told: int = 0
    right: int = 0
    edges_s: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    slopes: list[float] = field(default_factory=list)

    def row(self, kind: str) -> dict[str, Any]:
        def middle(values: list[float], scale: float, digits: int) -> float | None:
            return round(scale * float(np.median(values)), digits) if values else None

        return {
            "kind": kind,
            "stretches": self.truths,
            "recall %": round(100 * self.found / self.truths, 1) if self.truths else None,
            "told": self.told,
            "precision %": round(100 * self.right / self.told, 1) if self.told else None,
            "edge error s": middle(self.edges_s, 1, 2),
            "edges within 0.6 s %": round(100 * float(np.mean([e <= 0.6 for e in self.edges_s])), 1)
            if self.edges_s
            else None,
            "lag error ms": middle(self.lags, 40, 0),
            "drift error %": middle(self.slopes, 100, 1),
        }


def overlap(a0: float, a1: float, b0: float, b1: float) -> float:
    """Intersection over union of two spans."""
    both = max(0.0, min(a1, b1) - max(a0, b0))
    return both / max(max(a1, b1) - min(a0, b0), 1e-9)


def says(stretch: Stretch, truth: Truth) -> bool:
    """Does a stretch tell this truth, wherever it lies?"""
    if truth.state == LAG:
        return stretch.lag_frames is not None and not stretch.slope and abs(stretch.lag_frames - truth.lag_frames) <= 1
    if truth.state == DRIFT:
        return bool(stretch.slope) and abs(stretch.slope - truth.slope) <= 0.1 * abs(truth.slope)
    return stretch.state in SAME.get(truth.state, (truth.state,))


def is_damage(stretch: Stretch) -> bool:
    """Something is wrong there; silence alone and doubt are not."""
    return stretch.state not in (IN_SYNC, CANNOT_TELL, NO_SPEECH) or (stretch.state in MATCHED and bool(stretch.slope))


def merged(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Neighbours of one line, parted by silence or doubt, as one."""
    kept: list[Stretch] = []
    for s in stretches:
        before = kept[-1] if kept else None
        if before and before.state == s.state and before.slope == s.slope and before.lag_frames is not None:
            expected = before.lag_frames + before.slope * (s.start_s - before.start_s) * 25
            if abs(expected - (s.lag_frames or 0)) <= 1:
                kept[-1] = Stretch(before.start_s, s.end_s, s.state, before.lag_frames, s.slope, s.confidence)
                continue
        elif s.state in (CANNOT_TELL, NO_SPEECH):
            continue
        kept.append(s)
    return kept


def tally(total: Tally, truths: Sequence[Truth], stretches: Sequence[Stretch]) -> bool:
    """Add one clip; True where all is found and nothing else is told."""
    told = [s for s in merged(stretches) if is_damage(s)]
    silences = [s for s in stretches if s.state == NO_SPEECH]
    used: set[int] = set()
    for truth in truths:
        total.truths += 1
        for k, s in enumerate([*told, *silences]):
            if says(s, truth) and overlap(s.start_s, s.end_s, truth.start_s, truth.end_s) >= OVERLAP:
                total.found += 1
                used.add(k)
                total.edges_s += [abs(s.start_s - truth.start_s), abs(s.end_s - truth.end_s)]
                if truth.state == LAG:
                    total.lags.append(abs((s.lag_frames or 0) - truth.lag_frames))
                if truth.state == DRIFT:
                    total.slopes.append(abs(s.slope / truth.slope - 1))
                break
    right = [k for k in range(len(told)) if k in used]
    total.told += len(told)
    total.right += len(right)
    return len(used) == len(truths) and len(right) == len(told)
