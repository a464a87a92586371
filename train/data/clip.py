"""One training sample: a face track of a few seconds with its audio."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synclip_core.faces.geometry import TEMPLATE_REGIONS, face_regions


@dataclass
class Clip:
    """Everything on the 25 fps clock of one face track.

    crops: [T, S, S, 3] uint8, the canonical face square with `margin` around it; geometry: [T, 60, 2] canonical
    positions of GEOMETRY_POINTS; valid: [T] bool, frames where the face was seen; audio: [T * 640] float32, 16 kHz
    mono; prompts: [views, T, width] vocal prompts of a visual encoder that rests, then crops are empty; landmarks:
    [T, 98, 2] canonical positions of REGION_POINTS, or of compact samples boxes: [T, 5, 4] alone; None in shards of
    before they were kept.
    """

    key: str
    crops: np.ndarray
    geometry: np.ndarray
    valid: np.ndarray
    audio: np.ndarray
    margin: float
    meta: dict[str, Any] = field(default_factory=dict)  # subject, source, licence, split, kind, sync, start_s
    prompts: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def regions(self) -> np.ndarray:
        """float32 [T, 5, 4]: boxes of media.geometry.REGIONS, the usual ones where the landmarks were not kept."""
        if self.boxes is not None:
            return self.boxes
        if self.landmarks is None:
            return np.tile(TEMPLATE_REGIONS, (len(self), 1, 1))
        return face_regions(self.geometry, self.landmarks).astype(np.float32)

    def __len__(self) -> int:
        return len(self.valid)
