"""In-sync detection: AUC, and accuracy at a threshold set beforehand (UniSync, section IV-B, "Lip-Sync
Accuracy").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True)
class Confusion:
    """Counts at the threshold; positive = in sync."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def accuracy(self) -> float | None:
        """Mean of the two sides' hit rates: positives and negatives weigh alike whatever their number (chance 50 %)."""
        positives, negatives = self.true_positive + self.false_negative, self.true_negative + self.false_positive
        if not positives or not negatives:
            return None
        return (self.true_positive / positives + self.true_negative / negatives) / 2


def _finite(values: Any) -> np.ndarray:
    """Clips too short for a score carry NaN; they count as the lowest score ("not known to be in sync")."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(array), -np.inf, array)


def auc(positives: Any, negatives: Any) -> float | None:
    """P(score of a positive > score of a negative) + half the ties (Mann-Whitney). None where a side is empty."""
    p, n = _finite(positives), _finite(negatives)
    if not len(p) or not len(n):
        return None
    ranks = rankdata(np.concatenate([p, n]))
    return float((ranks[: len(p)].sum() - len(p) * (len(p) + 1) / 2) / (len(p) * len(n)))


def confusion(positives: Any, negatives: Any, threshold: float) -> Confusion:
    """A score >= threshold says "in sync". NaN (too short) says "not in sync"."""
    p, n = _finite(positives) >= threshold, _finite(negatives) >= threshold
    return Confusion(int(p.sum()), int((~p).sum()), int((~n).sum()), int(n.sum()))


def best_threshold(positives: Any, negatives: Any) -> float:
    """The threshold of the highest balanced accuracy, midway between the scores on either side. For validation splits
    only.

    ValueError where a side is empty.
    """
    p, n = np.sort(_finite(positives)), np.sort(_finite(negatives))
    if not len(p) or not len(n):
        raise ValueError("a threshold needs scores of clips in sync and of clips out of sync")
    scores = np.unique(np.concatenate([p, n]))
    scores = scores[np.isfinite(scores)]
    if len(scores) < 2:
        return float(scores[0]) if len(scores) else 0.0
    candidates = (scores[1:] + scores[:-1]) / 2
    hit = 1 - np.searchsorted(p, candidates, side="left") / len(p)
    rejected = np.searchsorted(n, candidates, side="left") / len(n)
    return float(candidates[(hit + rejected).argmax()])
