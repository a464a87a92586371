"""Shift consistency: for clips whose own offset is unknown, does a known shift move the estimate by as much?
(evaluation.md)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShiftConsistency:
    """share of shifts found within one frame; the clips' own offsets (lag of the untouched clip): mean, std, median,
    counts.
    """

    shifts: int
    share: float | None
    own_mean: float | None
    own_std: float | None
    own_median: float | None
    own_counts: dict[int, int]


def shift_consistency(
    own: Sequence[int | None], shifted: Sequence[Sequence[int | None]], shifts: Sequence[Sequence[int]]
) -> ShiftConsistency:
    """own[i]: lag of clip i untouched; shifted[i][j]: its lag after its audio moved by shifts[i][j] frames.

    A missing estimate (clip under 5 frames, no face) is a shift that was not found. share is None without shifts.
    """
    found = total = 0
    for base, estimates, truths in zip(own, shifted, shifts, strict=True):
        for estimate, truth in zip(estimates, truths, strict=True):
            total += 1
            found += base is not None and estimate is not None and abs(estimate - base - truth) <= 1
    offsets = np.array([o for o in own if o is not None], dtype=np.float64)
    some = len(offsets) > 0
    return ShiftConsistency(
        total,
        found / total if total else None,
        float(offsets.mean()) if some else None,
        float(offsets.std()) if some else None,
        float(np.median(offsets)) if some else None,
        dict(sorted(Counter(int(o) for o in offsets).items())),
    )
