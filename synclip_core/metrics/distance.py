"""Distances between audio tokens and lagged video tokens: the one quantity that every sync number stands on.

d(u, l) = 1 - a_u . v_{u+l}, so a lag is positive when the video lags the audio (the audio is early);
SyncLipMAE, sections 4.1 and 5.
"""

from typing import Any

import numpy as np

from ..errors import SyncLipError

FPS = 25.0
MIN_PAIRS = 5  # a lag that fewer pairs support is no candidate: its mean is noise (matters under 20 frames)


def as_tokens(tokens: Any, name: str = "tokens") -> np.ndarray:
    """tokens: [T, D], numpy or torch. Returns float32 [T, D] of length 1 (zero rows stay zero).

    SyncLipError on NaN or infinity.
    """
    if hasattr(tokens, "detach"):
        tokens = tokens.detach().cpu().numpy()
    array = np.asarray(tokens, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"{name}: expected [T, D], got shape {array.shape}")
    if not np.isfinite(array).all():
        raise SyncLipError(
            f"{name}: expected finite numbers, the model gave NaN or infinity; the checkpoint is damaged or overflowed"
        )
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)


def as_mask(mask: Any, length: int, name: str = "valid") -> np.ndarray:
    """Returns bool [length]; None means all True. ValueError when the length differs."""
    if mask is None:
        return np.ones(length, dtype=bool)
    if hasattr(mask, "detach"):
        mask = mask.detach().cpu().numpy()
    array = np.asarray(mask).astype(bool)
    if array.shape != (length,):
        raise ValueError(f"{name}: expected shape ({length},), got {array.shape}")
    return array


def distance_band(
    audio: Any, vocal: Any, max_lag: int = 15, valid: Any = None, *, heard: Any = None, block: int = 256
) -> np.ndarray:
    """d(u, l) for every audio tick u and lag l in [-max_lag, max_lag].

    audio, vocal: [T, D]; valid: bool [T], False where the video has no face; heard: bool [T], False at audio ticks that
    do not count. Returns float32 [T, 2 * max_lag + 1], NaN where tick u does not count, or tick u + l does not exist or
    has no face. Made of blocks of matrix products: memory grows with T, not T^2.
    """
    a, v = as_tokens(audio, "audio"), as_tokens(vocal, "vocal")
    if a.shape != v.shape:
        raise ValueError(f"audio and vocal tokens: expected one shape, got {a.shape} and {v.shape}")
    if max_lag < 0:
        raise ValueError(f"max_lag: expected 0 or more, got {max_lag}")
    length, lags = len(a), 2 * max_lag + 1
    if length == 0:
        return np.empty((0, lags), dtype=np.float32)
    padded = np.pad(v, ((max_lag, max_lag), (0, 0)))
    band = np.empty((length, lags), dtype=np.float32)
    for start in range(0, length, block):
        stop = min(start + block, length)
        products = a[start:stop] @ padded[start : stop + 2 * max_lag].T
        row, item = products.strides  # row i holds video start + i - max_lag .. at columns i .. i + 2 max_lag
        band[start:stop] = np.lib.stride_tricks.as_strided(products, (stop - start, lags), (row + item, item))
    np.subtract(1, band, out=band)
    exists = np.pad(as_mask(valid, length), max_lag)
    band[~np.lib.stride_tricks.sliding_window_view(exists, lags)[:length]] = np.nan
    band[~as_mask(heard, length, "heard")] = np.nan
    return band


def mean_curve(band: np.ndarray, weights: np.ndarray | None = None, min_pairs: int = MIN_PAIRS) -> np.ndarray:
    """D(l) = mean over u of d(u, l) where both ticks exist and have a face. Returns float64 [2 * max_lag + 1].

    weights: optional float [T] for the audio ticks (evaluation.md's definition weighs all alike). NaN at lags that
    fewer than `min_pairs` pairs of positive weight support.
    """
    defined = np.isfinite(band)
    w = np.ones(len(band)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = (defined * w[:, None]).sum(0)
    pairs = (defined & (w > 0)[:, None]).sum(0)
    sums = np.where(defined, band, 0).astype(np.float64).T @ w
    return np.where((pairs >= min_pairs) & (total > 0), sums / np.maximum(total, 1e-12), np.nan)


def distance_curve(
    audio: Any, vocal: Any, max_lag: int = 15, valid: Any = None, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """D(l), l in [-max_lag, max_lag] (section 4.1; evaluation.md, Sync).

    Returns float64 [2 * max_lag + 1], NaN where undefined.
    """
    return mean_curve(distance_band(audio, vocal, max_lag, valid), weights)


def window_curves(band: np.ndarray, window: int, hop: int = 1, min_share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean curves of the windows of `window` ticks that start at 0, hop, 2 hop, ...

    Returns starts int64 [W] and curves float64 [W, 2 * max_lag + 1]; a lag is NaN in a window where less than
    `min_share` of its pairs exist (1: all of them). W is 0 for clips shorter than the window.
    """
    starts = np.arange(0, len(band) - window + 1, hop)
    if not len(starts):
        return starts, np.empty((0, band.shape[1]))
    defined = np.isfinite(band)

    def running(values: np.ndarray, kind: Any) -> np.ndarray:
        total = np.concatenate([np.zeros((1, values.shape[1]), kind), np.cumsum(values, axis=0, dtype=kind)])
        return total[starts + window] - total[starts]

    counts = running(defined, np.int64)
    sums = running(np.where(defined, band, 0), np.float64)
    enough = counts >= max(1, min_share * window)
    return starts, np.where(enough, sums / np.maximum(counts, 1), np.nan)


def best_lag(curve: np.ndarray) -> int | None:
    """The lag of the smallest distance; None where no lag is defined. A tie goes to the most negative lag, so that a
    collapsed model (one constant token) never looks in sync.
    """
    if not np.isfinite(curve).any():
        return None
    return int(np.nanargmin(curve)) - len(curve) // 2


def curve_confidence(curves: np.ndarray) -> np.ndarray:
    """Sync_conf: median minus minimum over the lags (evaluation.md). curves: [..., lags]; NaN where none is defined."""
    ordered = np.sort(curves, axis=-1)  # NaN last
    return median(curves) - ordered[..., 0]


def median(curves: np.ndarray) -> np.ndarray:
    """Median over the last axis of what is defined, NaN where nothing is (np.nanmedian, without its loop over rows)."""
    ordered = np.sort(curves, axis=-1)
    count = np.isfinite(curves).sum(-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, np.maximum(count - 1, 0)), axis=-1)
    return ((low + high) / 2)[..., 0]
