"""Upright patches of both eyes, cut from a face crop at the mesh's eye corners."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 14  # pixels of a patch
SPAN = 1.5  # its width over the distance of the eye's corners
CORNERS = (33, 133, 362, 263)  # mesh points: outer and inner of the eye on the left in the picture, inner and outer
SMOOTHING = 1.5  # ticks; the mesh trembles by a pixel, which is a seventh of an open lid


def places(wanted: Sequence[int], names: Sequence[int] | None) -> list[int]:
    """Rows of mesh points among `names`, the mesh index of each row at hand; None: all 468 in order."""
    return list(wanted) if names is None else [list(names).index(name) for name in wanted]


def eye_patches(
    crops: np.ndarray, points: np.ndarray, margin: float = 0.0, names: Sequence[int] | None = None
) -> np.ndarray:
    """Upright grey patches of both eyes, the right one mirrored, so that x runs from the outer corner inwards.

    crops: uint8 [n, S, S, 3], n neighbouring ticks of one face, the canonical square with `margin` around it; points:
    [n, P, 2] landmarks in the canonical square; names: see `places`. Returns uint8 [n, 2, 14, 24].
    """
    size = crops.shape[1]
    corners = smoothed(points[:, places(CORNERS, names)]) + margin
    corners = corners * size / (1 + 2 * margin)
    patches = np.empty((len(crops), 2, HEIGHT, WIDTH), np.uint8)
    for picture, (left, left_inner, right_inner, right), out in zip(crops, corners, patches, strict=True):
        grey = Image.fromarray(picture).convert("L")
        shrink = max(1, round(SPAN * float(np.linalg.norm(left_inner - left)) / WIDTH))
        if shrink > 1:  # a larger face must not alias
            grey = grey.reduce(shrink)
        for eye, (outer, inner, down) in enumerate(((left, left_inner, 1.0), (right, right_inner, -1.0))):
            along = (inner - outer) * SPAN / WIDTH
            below = np.array([-along[1], along[0]]) * down
            start = (outer + inner - along * WIDTH - below * HEIGHT) / 2
            data = np.array([along[0], below[0], start[0], along[1], below[1], start[1]]) / shrink
            out[eye] = np.asarray(
                grey.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, tuple(data), Image.Resampling.BILINEAR)
            )
    return patches


def smoothed(points: np.ndarray) -> np.ndarray:
    """[n, ...] with a Gaussian over the first axis, the ends held."""
    radius = int(np.ceil(3 * SMOOTHING))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SMOOTHING) ** 2)
    flat = np.pad(points.reshape(len(points), -1).astype(np.float64), ((radius, radius), (0, 0)), mode="edge")
    columns = [np.convolve(column, kernel / kernel.sum(), "valid") for column in flat.T]
    return np.stack(columns, 1).reshape(points.shape)
