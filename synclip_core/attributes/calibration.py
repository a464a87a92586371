"""Does a probability of 0.8 come true four times in five? Calibration error and temperature (Guo et al. 2017)."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

from .head import sigmoid, softmax

BINS = 15


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean over equal-width bins of |mean confidence - share right|, weighted by their counts. float [n], bool [n]."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def fit_temperature(logits: np.ndarray, truth: np.ndarray, kind: str) -> float:
    """The divisor of the logits with the largest likelihood, 0.05..20.

    kind single: logits [n, L], truth int [n]; multi: logits [n, L], truth bool [n, L].
    """

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        if kind == "single":
            chosen = softmax(scaled)[np.arange(len(truth)), truth]
        else:
            p = sigmoid(scaled)
            chosen = np.where(truth, p, 1 - p)
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    return float(np.exp(_minimum(loss, np.log(0.05), np.log(20.0))))


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    return float(minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x)
