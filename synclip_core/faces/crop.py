"""Face crops: the canonical square (plus an optional margin) resampled from a frame, and what a model sees of them."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MAX_SIDE = 1280  # see decode_side


def decode_side(face: int) -> int:
    """Pixels of the longest side that is decoded for faces of `face` pixels, in inference and for shards alike; larger
    pictures are reduced on the way, which such small crops do not notice."""
    return round(MAX_SIDE * max(1.0, face / 112))


def crop_face(image: np.ndarray, transform: np.ndarray, size: int, margin: float = 0.0) -> np.ndarray:
    """image: [H, W, 3] uint8; transform: [2, 3] canonical unit square -> pixels.

    Returns [size, size, 3] uint8 that covers the canonical square grown by `margin` (a share of its side) on every
    side.
    Large faces are box-reduced first, so that a 4K face does not alias; outside the image the edge colour is black.
    """
    span = 1 + 2 * margin
    to_canonical = np.array([[span / size, 0, -margin], [0, span / size, -margin]])
    linear = transform[:, :2] @ to_canonical[:, :2]
    # pixel centres: output (x + .5) -> canonical -> input, in PIL's convention input pixel i covers [i, i + 1)
    shift = transform[:, :2] @ to_canonical[:, 2] + transform[:, 2]
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ linear.T + shift
    height, width = image.shape[:2]
    left, top = np.floor(np.clip(corners.min(0) - 2, 0, [width - 1, height - 1])).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0) + 2, [left + 1, top + 1], [width, height])).astype(int)
    region = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    factor = max(1, int(scale))
    if factor > 1:
        region = region.reduce(factor)
    linear = linear / factor
    shift = (shift - [left, top]) / factor
    data = (linear[0, 0], linear[0, 1], shift[0], linear[1, 0], linear[1, 1], shift[1])
    return np.asarray(region.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))


def model_frames(crops: Tensor, size: tuple[int, int], margin: float = 0.0, moved: Tensor | None = None) -> Tensor:
    """Frames as the model reads them, in training and inference alike: the whole canonical square, stretched to `size`.

    crops: [N, S, S, 3] uint8 with `margin` around the canonical square; size: height and width of the frames. Where
    the two differ the face is not cut and no bars stand beside it: a face in 1024 x 768 is a quarter narrower than it
    is. moved: [N, 2, 3], a point of the frame -> a point of the canonical square, both -1..1 from side to side; None:
    the square as it lies. Returns [N, 3, height, width], 0..1; crops that have the size already are not resampled.
    """
    images = crops.permute(0, 3, 1, 2).float() / 255
    if moved is None:
        if not margin and images.shape[-2:] == size:
            return images
        moved = torch.eye(2, 3).expand(len(images), -1, -1)
    theta = (moved / (1 + 2 * margin)).to(images)
    grid = F.affine_grid(theta, [len(images), 3, *size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
