"""The four token streams of one clip."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class TokenStreams:
    """One row a frame at 25 fps. audio, vocal, identity, ambient: float32 [T, dim]; audio and vocal are L2-normalised.

    valid: bool [T], ticks with the chosen face; speech: bool [T]; prompts: float32 [T, width], vocal prompts before
    anything that looks along the clip; track: int64 [T], the face track of each tick, -1 for none. faces: tracks seen.
    """

    audio: np.ndarray
    vocal: np.ndarray
    identity: np.ndarray
    ambient: np.ndarray
    valid: np.ndarray
    speech: np.ndarray
    prompts: np.ndarray
    track: np.ndarray
    duration_s: float
    faces: int
    profile: str
    warnings: list[str] = field(default_factory=list)
    look: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.float32))  # [T, 5], see sync.along.look
