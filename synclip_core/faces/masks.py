"""Masks over a face crop from the landmarks: lower face, mouth."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from . import geometry
from .paste import paste_face

# indices into the 468-point mesh
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
UNDER_NOSE = (327, 2, 98)
SUPERSAMPLE = 4


def canonical(landmarks: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """[..., P, 2+] source pixels -> [..., P, 2] in the canonical square."""
    return geometry.apply(geometry.invert(transform), landmarks[..., :2].astype(np.float64))


def polygon_mask(points: np.ndarray, size: int, margin: float, grow: float, feather: float) -> np.ndarray:
    """points: [P, 2] canonical, in order round the outline. grow, feather: shares of the canonical side.

    Returns [size, size] float32 in 0..1: 1 inside the outline grown by `grow`, falling smoothly over about `feather`.
    """
    span = 1 + 2 * margin
    fine = size * SUPERSAMPLE
    image = Image.new("L", (fine, fine))
    outline = [tuple(p) for p in (points + margin) / span * fine - 0.5]
    draw = ImageDraw.Draw(image)
    draw.polygon(outline, fill=255)
    width = 2 * grow / span * fine
    if width >= 1:
        draw.line([*outline, outline[0], outline[1]], fill=255, width=round(width), joint="curve")
    image = image.reduce(SUPERSAMPLE)
    if feather > 0:
        image = image.filter(ImageFilter.GaussianBlur(feather / span * size / 2))
    return np.asarray(image, np.float32) / 255


def lower_face_mask(
    landmarks: np.ndarray,
    transform: np.ndarray,
    size: int,
    margin: float = 0.0,
    grow: float = 0.03,
    feather: float = 0.06,
) -> np.ndarray:
    """What speech moves: jaw, cheeks below the nose, mouth. landmarks: [468, 2+] px; transform: the crop's [2, 3]."""
    points = canonical(landmarks, transform)[list(JAW + UNDER_NOSE)]
    return polygon_mask(points, size, margin, grow, feather)


def mouth_mask(
    landmarks: np.ndarray,
    transform: np.ndarray,
    size: int,
    margin: float = 0.0,
    grow: float = 0.04,
    feather: float = 0.04,
) -> np.ndarray:
    """Lips and what is between them; arguments as in lower_face_mask."""
    return polygon_mask(canonical(landmarks, transform)[list(OUTER_LIPS)], size, margin, grow, feather)


REGIONS = {"lower face": lower_face_mask, "mouth": mouth_mask}
FRAME_MARGIN = 0.5  # around the face's square, so that a grown mask is not cut at its border
LOWEST, HIGHEST = 64, 512  # pixels that a mask is drawn with before it is laid over a frame


def lower_chin(landmarks: np.ndarray, transforms: np.ndarray, chin: float) -> np.ndarray:
    """The jaw line lower by `chin`, a share of the face's square, along the face: room for a jaw that opens.

    landmarks: [n, 468, 2+] px; transforms: [n, 2, 3]. Returns moved landmarks.
    """
    moved = landmarks.copy()
    down, jaw = transforms[:, :, 1], list(JAW)
    # the ends of the line, beside the ears, stay; its middle, the chin, moves all the way
    weight = np.sin(np.linspace(0, np.pi, len(jaw), dtype=np.float32))
    moved[:, jaw, :2] += chin * weight[None, :, None] * down[:, None, :]
    return moved


def frame_mask(
    shape: tuple[int, int], landmarks: np.ndarray, transform: np.ndarray, region: str, grow: float, feather: float
) -> np.ndarray:
    """[H, W] float32 in 0..1 over a whole frame of `shape` (H, W). region: a key of REGIONS; others as above."""
    side = float(np.hypot(*transform[:, 0])) * (1 + 2 * FRAME_MARGIN)
    size = int(np.clip(side, LOWEST, HIGHEST))
    mask = REGIONS[region](landmarks, transform, size, FRAME_MARGIN, grow, feather)
    black, white = np.zeros((*shape, 3), np.uint8), np.full((size, size, 3), 255, np.uint8)
    return paste_face(black, white, transform, FRAME_MARGIN, 0.0, mask)[..., 0] / np.float32(255)
