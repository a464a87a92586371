"""Acc@K and Offset@K: lag detection per window (SyncLipMAE, section 5, "Temporal lag detection"; Tables 1, 2,
6).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .distance import distance_band, window_curves

WINDOWS = (1, 5, 15)


@dataclass(frozen=True)
class WindowLag:
    """Sums over windows, so that clips add up: `a + b` pools their windows."""

    windows: int = 0
    hits: int = 0
    offset_sum: float = 0.0

    def __add__(self, other: "WindowLag") -> "WindowLag":
        return WindowLag(self.windows + other.windows, self.hits + other.hits, self.offset_sum + other.offset_sum)

    @property
    def acc(self) -> float | None:
        """Share of windows with |estimate - truth| <= 1 frame; None without windows. Chance 9.7 % (3 of 31)."""
        return self.hits / self.windows if self.windows else None

    @property
    def offset(self) -> float | None:
        """Mean |estimate - truth| in frames; None without windows. Chance 7.7 (truth 0)."""
        return self.offset_sum / self.windows if self.windows else None


def window_lags(band: np.ndarray, window: int, centres: np.ndarray | None = None) -> np.ndarray:
    """Lag estimates int64 [W] of all windows of `window` ticks for which every index u + l exists (and has a face).

    centres: optional bool [T]; only windows around these ticks.
    """
    starts, curves = window_curves(band, window)
    keep = np.isfinite(curves).all(1)
    if centres is not None:
        keep &= centres[starts + window // 2]
    return curves[keep].argmin(1) - band.shape[1] // 2


def window_lag(
    audio: Any,
    vocal: Any,
    truth: int = 0,
    windows: tuple[int, ...] = WINDOWS,
    max_lag: int = 15,
    valid: Any = None,
    centres: np.ndarray | None = None,
    heard: Any = None,
) -> dict[int, WindowLag]:
    """D_t(l) = mean over the K frames u around t of d(u, u + l); the estimate is the argmin over l in [-max_lag,
    max_lag].

    audio, vocal: [T, D]; truth: the known lag in frames; centres: bool [T], windows around these ticks only (speech,
    say); heard: bool [T], audio ticks that count, None for all. A clip shorter than 2 * max_lag + K frames has no
    window and gives a WindowLag of zero windows (acc and offset None).
    """
    band = distance_band(audio, vocal, max_lag, valid, heard=heard)
    result = {}
    for window in windows:
        error = np.abs(window_lags(band, window, centres) - truth)
        result[window] = WindowLag(len(error), int((error <= 1).sum()), float(error.sum()))
    return result
