"""How the head moves while it speaks: slow sway and blinks. Nothing here follows the timing of the mouth."""

import numpy as np

from .head import Pose


def pose_track(times_s: np.ndarray, seed: int, amount: float = 1.0) -> list[Pose]:
    """The pose at each of `times_s` [N]; the same seed gives the same motion. amount: 0 holds the head still."""
    rng = np.random.default_rng(seed)

    def sway(size: float) -> np.ndarray:
        rate, phase = rng.uniform(0.12, 0.55, 4), rng.uniform(0, 2 * np.pi, 4)
        waves = np.sin(2 * np.pi * rate[:, None] * times_s + phase[:, None]) / (1 + 2 * rate[:, None])
        return amount * size * waves.sum(0) / 2

    tracks = {
        "yaw": sway(0.10),
        "pitch": sway(0.05),
        "roll": sway(0.03),
        "shift_x": sway(0.025),
        "shift_y": sway(0.015),
        "zoom": 1 + sway(0.015),
        "gaze": sway(0.5),
        "brows": sway(0.006),
        "lids": _lids(times_s, rng),
    }
    return [Pose(**{name: float(values[i]) for name, values in tracks.items()}) for i in range(len(times_s))]


def _lids(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 open, 0 shut: a blink of about 200 ms every 2 to 5 s."""
    lids = np.ones(len(times_s))
    blink = float(rng.uniform(0.8, 2.5))
    while len(times_s) and blink < times_s[-1]:
        lids = np.minimum(lids, np.clip(np.abs(times_s - blink) / 0.10, 0, 1) ** 0.8)
        blink += float(rng.uniform(2.0, 5.0))
    return lids
