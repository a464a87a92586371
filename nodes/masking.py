"""Masks of a tracked face, over its crops or over the frames of its video."""

import numpy as np

from ..synclip_core.media.masks import JAW, lower_face_mask, mouth_mask
from ..synclip_core.media.paste import paste_face
from .progress import counted
from .tensors import require_room
from .values import Faces

REGIONS = {"lower face": lower_face_mask, "mouth": mouth_mask}
MARGIN = 0.5  # around the face's square, so that a grown mask is not cut at its border
LOWEST, HIGHEST = 64, 512  # pixels that a mask is drawn with before it is laid over a frame


def crop_masks(faces: Faces, region: str, grow: float, chin: float, feather: float) -> np.ndarray:
    """float32 [n, S, S], one for each crop."""
    faces.crops()  # says so where there are none
    landmarks, transforms = lowered(faces, chin), faces.joined("transforms")
    require_room((len(landmarks), faces.size, faces.size), "the MASK")
    rows = counted(zip(landmarks, transforms, strict=True), len(landmarks))
    draw = REGIONS[region]
    return np.stack([draw(points, place, faces.size, faces.margin, grow, feather) for points, place in rows])


def frame_masks(faces: Faces, region: str, grow: float, chin: float, feather: float) -> np.ndarray:
    """float32 [frames, H, W], one for each frame of the video; black where no face was chosen."""
    require_room((len(faces.frame_ticks), faces.height, faces.width), "the MASK")
    masks = np.zeros((len(faces.frame_ticks), faces.height, faces.width), np.float32)
    faces.crops()
    landmarks, transforms, rows = lowered(faces, chin), faces.joined("transforms"), faces.rows()
    black = np.zeros((faces.height, faces.width, 3), np.uint8)
    drawn = -1
    for frame, tick in enumerate(counted(faces.frame_ticks, len(masks))):
        row = rows[tick]
        if row < 0:
            continue
        if row == drawn:  # more frames than ticks
            masks[frame] = masks[frame - 1]
            continue
        side = float(np.hypot(*transforms[row][:, 0])) * (1 + 2 * MARGIN)
        size = int(np.clip(side, LOWEST, HIGHEST))
        mask = REGIONS[region](landmarks[row], transforms[row], size, MARGIN, grow, feather)
        white = np.full((size, size, 3), 255, np.uint8)
        masks[frame] = paste_face(black, white, transforms[row], MARGIN, 0.0, mask)[..., 0] / np.float32(255)
        drawn = row
    return masks


def lowered(faces: Faces, chin: float) -> np.ndarray:
    """Landmarks [n, 468, 2] whose jaw line lies lower by `chin`, a share of the face's square, along the face."""
    landmarks = faces.joined("landmarks").copy()
    down = faces.joined("transforms")[:, :, 1]
    jaw = list(JAW)
    # the ends of the line, beside the ears, stay; its middle, the chin, moves all the way
    weight = np.sin(np.linspace(0, np.pi, len(jaw), dtype=np.float32))
    landmarks[:, jaw] += chin * weight[None, :, None] * down[:, None, :]
    return landmarks
