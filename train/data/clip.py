"""One training sample: a face track of a few seconds with its audio."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Clip:
    """Everything on the 25 fps clock of one face track.

    crops: [T, S, S, 3] uint8, the canonical face square with `margin` around it; geometry: [T, 60, 2] canonical
    positions of GEOMETRY_POINTS; valid: [T] bool, frames where the face was seen; audio: [T * 640] float32, 16 kHz
    mono; prompts: [views, T, width] vocal prompts of a visual encoder that rests, then crops are empty.
    """

    key: str
    crops: np.ndarray
    geometry: np.ndarray
    valid: np.ndarray
    audio: np.ndarray
    margin: float
    meta: dict[str, Any] = field(default_factory=dict)  # subject, source, licence, split, kind, sync, start_s
    prompts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.valid)
