"""Ridge regression, the plainest reader of what a token holds."""

from dataclasses import dataclass

import numpy as np

STRENGTH = 10.0  # on standardised tokens; their width is the order of a hundred, the frames some ten thousand


@dataclass(frozen=True)
class Ridge:
    """y = (x - mean) / scale @ weights + middle. x: [n, D]; y: [n, K]."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    middle: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, strength: float = STRENGTH) -> "Ridge":
        mean, scale, middle = x.mean(0), x.std(0) + 1e-6, y.mean(0)
        return cls(mean, scale, ridge((x - mean) / scale, y - middle, strength), middle)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale @ self.weights + self.middle


def ridge(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Weights [D, K] that minimise |x w - y|^2 + strength |w|^2."""
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def r2(said: np.ndarray, truth: np.ndarray) -> float:
    """Share of the variance that is told; below 0 where the constant mean tells more."""
    return float(1 - ((said - truth) ** 2).sum() / max(((truth - truth.mean(0)) ** 2).sum(), 1e-12))
