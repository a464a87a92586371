"""Figures of one group of labels: accuracy, AUC, calibration, a line a class (evaluation.md, Facial understanding)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from synclip_core.attributes.calibration import calibration_error
from synclip_core.attributes.head import sigmoid, softmax
from synclip_core.metrics.classification import auc, balanced_accuracy, confusion, macro_auc

from ..dataset import Group
from ..fit import UNKNOWN


def known_rows(truth: np.ndarray) -> np.ndarray:
    """bool [n]: rows with any label known. truth: [n] or [n, L]."""
    return (truth != UNKNOWN) if truth.ndim == 1 else (truth != UNKNOWN).any(1)


def probabilities(logits: np.ndarray, group: Group, temperature: float = 1.0) -> np.ndarray:
    return softmax(logits / temperature) if group.kind == "single" else sigmoid(logits / temperature)


def group_figures(
    probability: np.ndarray, truth: np.ndarray, group: Group, thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """probability: [n, L]; truth: see samples.Samples; thresholds: of a multi group, 0.5 where not given.

    single: accuracy of the likeliest label; multi: mean over labels. Rows that are not known are left out.
    """
    rows = known_rows(truth)
    p, t = probability[rows], truth[rows]
    classes = [_label(p, t, group, k, 0.5 if thresholds is None else thresholds[k]) for k in range(len(group.labels))]
    scored = [c for c in classes if c["count"]]
    if group.kind == "single":
        right = p.argmax(1) == t
        accuracy = float(right.mean()) if len(t) else None
        ece = calibration_error(p.max(1), right) if len(t) else None
        area = macro_auc(p, t[:, None] == np.arange(len(group.labels)))
    else:
        accuracy = float(np.mean([c["accuracy"] for c in scored])) if scored else None
        ece = float(np.mean([c["ece"] for c in scored])) if scored else None
        areas = [c["auc"] for c in scored if c["auc"] is not None]
        area = float(np.mean(areas)) if areas else None
    return {"count": len(t), "accuracy": accuracy, "macro_auc": area, "ece": ece, "classes": classes}


def _label(p: np.ndarray, t: np.ndarray, group: Group, k: int, threshold: float) -> dict[str, Any]:
    """One label against the rest."""
    if group.kind == "single":
        score, truth, said = p[:, k], t == k, p.argmax(1) == k
    else:
        rows = t[:, k] != UNKNOWN
        score, truth = p[rows, k], t[rows, k] == 1
        said = score >= threshold
    there, claimed = int(truth.sum()), int(said.sum())
    return {
        "label": group.labels[k],
        "count": len(truth),
        "positives": there,
        "majority": float(max(truth.mean(), 1 - truth.mean())) if len(truth) else None,
        "accuracy": float((said == truth).mean()) if len(truth) else None,
        "balanced": balanced_accuracy(said, truth) if len(truth) else None,
        "precision": float((said & truth).sum() / claimed) if claimed else None,
        "recall": float((said & truth).sum() / there) if there else None,
        "auc": auc(score, truth),
        "ece": calibration_error(score, truth) if len(truth) else None,
    }


def majority_figures(train: np.ndarray, truth: np.ndarray, group: Group) -> dict[str, Any]:
    """What one gets for always saying what is most frequent in the training split; its AUC is 0.5 by definition."""
    t = truth[known_rows(truth)]
    if group.kind == "single":
        most = np.bincount(train[train != UNKNOWN], minlength=len(group.labels)).argmax()
        accuracy = float((t == most).mean()) if len(t) else None
    else:
        parts = []
        for k in range(len(group.labels)):
            own, rows = train[:, k], t[:, k] != UNKNOWN
            most = own[own != UNKNOWN].mean() >= 0.5 if (own != UNKNOWN).any() else False
            if rows.any():
                parts.append(float((t[rows, k] == most).mean()))
        accuracy = float(np.mean(parts)) if parts else None
    return {"count": len(t), "accuracy": accuracy, "macro_auc": 0.5 if len(t) else None, "ece": None, "classes": []}


def confusion_rows(probability: np.ndarray, truth: np.ndarray, group: Group, thresholds: Sequence[float]) -> np.ndarray:
    """Counts for the picture. single: [L, L], truth by prediction; multi: [L, 4], of each label: there and said, there
    and not said, not there but said, neither."""
    rows = known_rows(truth)
    p, t = probability[rows], truth[rows]
    if group.kind == "single":
        return confusion(p.argmax(1), t, len(group.labels))
    counts = np.zeros((len(group.labels), 4), np.int64)
    for k, threshold in enumerate(thresholds):
        known = t[:, k] != UNKNOWN
        place = 2 * (t[known, k] == 0) + (p[known, k] < threshold)
        counts[k] = np.bincount(place, minlength=4)
    return counts
