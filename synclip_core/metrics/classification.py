"""Accuracy and area under the ROC curve of classifiers (evaluation.md, Facial understanding)."""

import numpy as np
from scipy.stats import rankdata


def auc(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Probability that a positive scores above a negative, ties counting half (Mann-Whitney); None without both.

    scores: float [n]; truth: bool [n].
    """
    truth = np.asarray(truth, bool)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def macro_auc(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean of one-against-the-rest AUCs over the labels that have both. scores: [n, L]; truth: bool [n, L]."""
    found = [auc(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean of the shares found among positives and among negatives; 0.5 is chance. bool [n], bool [n]."""
    if truth.all() or not truth.any():
        return None
    return float((predicted[truth].mean() + (~predicted[~truth]).mean()) / 2)


def matthews(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Matthews' correlation, -1..1, 0 where one side is constant: fair to rare labels. bool [n], bool [n]."""
    a, b = predicted.astype(np.float64), truth.astype(np.float64)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def best_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """The threshold with the largest Matthews' correlation, from 0.2 to 0.8 in steps of 0.01: of a calibrated
    probability a better one further out rests on a handful of examples."""
    grid = np.arange(0.2, 0.801, 0.01)
    scores = [matthews(probability >= t, truth) for t in grid]
    best = max(scores)
    # the middle of the best ones: an edge would be taken from a handful of frames
    return float(np.round(np.median(grid[np.isclose(scores, best)]), 2))


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: rows the truth, columns the prediction. int [n], int [n]."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
