"""From what the model made to what is pasted: colours of the source, and a soft edge around what speech moves."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from ..faces.masks import lower_chin, lower_face_mask
from .vace import edit_mask

GAIN = (0.7, 1.4)  # farther than that it is not a drift of colour
CHIN = 0.12  # room below the chin, a share of the canonical square
FEATHER = 0.06
EASED = 2  # frames; more would hold the old mouth for longer than a tenth of a second
EASED_FRESH = 6  # where the part did not go on from the one before: what differs is more than the mouth


def match_colours(made: np.ndarray, source: np.ndarray, margin: float) -> np.ndarray:
    """made, source: uint8 [n, S, S, 3]. Each channel of `made` scaled and shifted, the same for all frames, so that
    outside the hole, where both show the same, it is as in the source."""
    outside = edit_mask(made.shape[1], margin).numpy() == 0
    result = made.astype(np.float32)
    for channel in range(3):
        x, y = result[:, outside, channel], source[:, outside, channel].astype(np.float32)
        spread = float(((x - x.mean()) ** 2).mean())
        slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 1 else 1.0
        gain = float(np.clip(slope, *GAIN))
        result[..., channel] = result[..., channel] * gain + float(y.mean() - gain * x.mean())
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def ease_join(made: np.ndarray, last: np.ndarray, frames: int = EASED) -> np.ndarray:
    """made: uint8 [n, S, S, 3]; last: uint8 [S, S, 3], the frame before it, of another sampling. The step between them
    spread over the first `frames`, so that a join does not show: each takes over less of what differs."""
    eased, step = made.astype(np.float32), last.astype(np.float32) - made[0]
    for frame in range(min(frames, len(made))):
        eased[frame] += step * (1 - (frame + 1) / (frames + 1))
    return np.clip(np.rint(eased), 0, 255).astype(np.uint8)


def paste_masks(landmarks: np.ndarray, transforms: np.ndarray, size: int, margin: float) -> np.ndarray:
    """landmarks: [n, 468, 2] px; transforms: [n, 2, 3]. float32 [n, size, size] in 0..1: jaw, cheeks and mouth of each
    frame, never beyond the hole that was made anew."""
    lowered = lower_chin(landmarks, transforms, CHIN)
    faces = [
        lower_face_mask(points, place, size, margin, grow=0.02, feather=FEATHER)
        for points, place in zip(lowered, transforms, strict=True)
    ]
    return np.stack(faces) * _soft_hole(size, margin)


@lru_cache(maxsize=4)
def _soft_hole(size: int, margin: float) -> np.ndarray:
    """float32 [size, size]: 1 well inside the hole, 0 outside. Kept: every part asks for the same."""
    hole = edit_mask(size, margin).numpy()
    # shrunk by what the blur spreads, so that it is black where the source's own pixels stand
    reach = FEATHER / (1 + 2 * margin) * size
    inner = Image.fromarray((hole * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(2 * max(1, round(reach)) + 1))
    return np.asarray(inner.filter(ImageFilter.GaussianBlur(reach / 2)), np.float32) / 255 * (hole > 0)
