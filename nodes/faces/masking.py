"""Masks of a tracked face, over its crops or over the frames of its video."""

import numpy as np

from ...synclip_core.faces.masks import REGIONS, frame_mask, lower_chin
from ..shared.progress import counted
from ..shared.tensors import require_room
from ..shared.values import Faces


def crop_masks(faces: Faces, region: str, grow: float, chin: float, feather: float) -> np.ndarray:
    """float32 [n, S, S], one for each crop."""
    faces.crops()  # says so where there are none
    landmarks, transforms = _placed(faces, chin)
    require_room((len(landmarks), faces.size, faces.size), "the MASK")
    rows = counted(zip(landmarks, transforms, strict=True), len(landmarks))
    draw = REGIONS[region]
    return np.stack([draw(points, place, faces.size, faces.margin, grow, feather) for points, place in rows])


def frame_masks(faces: Faces, region: str, grow: float, chin: float, feather: float) -> np.ndarray:
    """float32 [frames, H, W], one for each frame of the video; black where no face was chosen."""
    shape = (faces.height, faces.width)
    require_room((len(faces.frame_ticks), *shape), "the MASK")
    faces.crops()
    masks = np.zeros((len(faces.frame_ticks), *shape), np.float32)
    landmarks, transforms = _placed(faces, chin)
    rows, drawn = faces.rows(), -1
    for frame, tick in enumerate(counted(faces.frame_ticks, len(masks))):
        row = rows[tick]
        if row < 0:
            continue
        if row == drawn:  # more frames than ticks
            masks[frame] = masks[frame - 1]
            continue
        masks[frame] = frame_mask(shape, landmarks[row], transforms[row], region, grow, feather)
        drawn = row
    return masks


def _placed(faces: Faces, chin: float) -> tuple[np.ndarray, np.ndarray]:
    transforms = faces.joined("transforms")
    return lower_chin(faces.joined("landmarks"), transforms, chin), transforms
