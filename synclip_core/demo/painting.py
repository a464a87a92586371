"""Small helpers of the renderer: antialiased masks, bumps, blends. Arrays are float32 images [N, N] or [N, N, 3]."""

import numpy as np


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; `low > high` turns it around."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def below(edge: np.ndarray | float, y: np.ndarray, soft: float) -> np.ndarray:
    """1 where y lies below the curve `edge` (y grows downwards), with a transition `soft` wide."""
    return np.clip((y - edge) / soft + 0.5, 0.0, 1.0)


def bump(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    """A Gaussian hill of height 1 at (cx, cy)."""
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def blend(image: np.ndarray, colour: np.ndarray, mask: np.ndarray) -> None:
    """Paint `colour` ([3] or [N, N, 3]) over `image` in place where `mask` ([N, N], 0..1) says."""
    image += (colour - image) * mask[..., None]
