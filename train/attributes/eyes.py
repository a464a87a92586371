"""What the eyes and brows of a face do, frame by frame: closed lids, brow height, gaze to the side.

The mesh hardly moves its lid points in a blink (FACES.md), but it knows where the eyes are. So lids and gaze are read
from the pixels of an upright patch of each eye, and the brows from the mesh, which does follow them. Every limit is a
definition; how often it is right was judged by eye (weights/ATTRIBUTES.md, Eyes).
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .fit import UNKNOWN

WIDTH, HEIGHT = 24, 14  # pixels of a patch
SPAN = 1.5  # its width over the distance of the eye's corners
CORNERS = (33, 133, 362, 263)  # mesh points: outer and inner of the eye on the left in the picture, inner and outer
BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
SMOOTHING = 1.5  # ticks; the mesh trembles by a pixel, which is a seventh of an open lid
MEDIAN, HOP = 50, 5  # an eye's usual look: median of the ticks up to 2 s before and after, anew every 5 ticks
CLOSED, OPEN = 3.0, 1.5  # of closing(): lids are down; lids are up; between them nobody knows
EDGE = 2  # ticks beside closed lids that are not known


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


def closing(patches: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """How far both eyes look like closed lids against their usual look. Float [T]: about 0 while open, 3 to 7 closed.

    Where the pupil was there is bright lid, and the dark lashes lie lower: the change against the usual look, in units
    of that look's contrast, is projected on that template. patches: uint8 [T, 2, 14, 24]; valid: bool [T].
    """
    if not valid.any():
        return np.zeros(len(patches))
    small = patches.reshape(len(patches), 2, HEIGHT // 2, 2, WIDTH // 2, 2).mean((3, 5)).reshape(len(patches), 2, -1)
    usual = usual_look(small, valid)
    contrast = usual.std(-1, keepdims=True) + 3.0  # a dark eye without contrast is noise
    return (((small - usual) / contrast) @ lid_template()).mean(1)


def usual_look(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Running median over the valid ticks. [T, ...] -> [T, ...]; near an end the window keeps its length."""
    total, usual = len(values), np.empty(values.shape)
    for start in range(0, total, HOP):
        low = int(np.clip(start + HOP // 2 - MEDIAN, 0, max(0, total - 2 * MEDIAN - 1)))
        window = slice(low, low + 2 * MEDIAN + 1)
        seen = values[window][valid[window]]
        usual[start : start + HOP] = np.median(seen if len(seen) else values[valid], axis=0)
    return usual


def lid_template() -> np.ndarray:
    """[84], length 1, of a patch at half size: a bright blob over the pupil, a dark bar where closed lashes lie.

    Places and widths are shares of the patch; a logistic regression on hand-labelled frames found the same picture.
    """
    x, y = np.meshgrid((np.arange(WIDTH // 2) + 0.5) / (WIDTH // 2), (np.arange(HEIGHT // 2) + 0.5) / (HEIGHT // 2))
    lid = np.exp(-0.5 * (((x - 0.47) / 0.19) ** 2 + ((y - 0.36) / 0.17) ** 2))
    lashes = np.exp(-0.5 * (((x - 0.40) / 0.28) ** 2 + ((y - 0.64) / 0.09) ** 2))
    template = (lid / np.linalg.norm(lid) - 0.7 * lashes / np.linalg.norm(lashes)).reshape(-1)
    return template / np.linalg.norm(template)


def blink_truth(score: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`closing` -> int [T]: 1 lids down, 0 lids up, UNKNOWN between the two, beside closed lids and without a face."""
    closed = (score >= CLOSED) & valid
    near = np.convolve(closed, np.ones(2 * EDGE + 1), "same") > 0
    truth = np.where(closed, 1, np.where(near | (score >= OPEN), UNKNOWN, 0))
    truth[~valid] = UNKNOWN
    return truth


def brow_height(points: np.ndarray, names: Sequence[int] | None = None) -> np.ndarray:
    """Mean height of both brows over the line of the outer eye corners, over their distance. [T, P, 2] -> float [T]."""
    outer = points[:, places((CORNERS[0], CORNERS[3]), names)].astype(np.float64)
    across = outer[:, 1] - outer[:, 0]
    width = np.maximum(np.linalg.norm(across, axis=-1), 1e-6)
    up = np.stack([across[:, 1], -across[:, 0]], -1) / width[:, None]
    brows = points[:, places(BROWS, names)].mean(1) - outer.mean(1)
    return (brows * up).sum(-1) / width


def brow_motion(points: np.ndarray, valid: np.ndarray, names: Sequence[int] | None = None) -> np.ndarray:
    """`brow_height` within one clip, with what the pose of the head explains taken out (a nod moves it by as much as a
    brow does): float [T], NaN without a face. points: [T, P, 2], with the nose tip (mesh point 1)."""
    height = brow_height(points, names)
    outer, nose = points[:, places((CORNERS[0], CORNERS[3]), names)], points[:, places((1,), names)[0]]
    width = np.maximum(np.linalg.norm(outer[:, 1] - outer[:, 0], axis=-1, keepdims=True), 1e-6)
    pose = (nose - outer.mean(1)) / width
    terms = np.concatenate([pose, pose**2, np.ones_like(width)], 1).astype(np.float64)
    if valid.sum() <= 2 * terms.shape[1]:  # too few ticks for five terms
        return np.where(valid, 0.0, np.nan)
    weights = np.linalg.lstsq(terms[valid], height[valid], rcond=None)[0]
    return np.where(valid, height - terms @ weights, np.nan)


def gaze(patches: np.ndarray) -> np.ndarray:
    """Where the dark of both eyes lies between the corners: float [T], about -0.2 (left in the picture) to 0.2.

    Only what both eyes share counts: mirrored eyes move against each other in their patches. Lids must be up.
    """
    x, y = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH - 0.5, (np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5)
    inside = (x / 0.32) ** 2 + (y / 0.30) ** 2 < 1
    values = patches[:, :, inside].astype(np.float64)
    dark = np.maximum(np.quantile(values, 0.35, axis=-1, keepdims=True) - values, 0) + 1e-9
    centre = (dark * x[inside]).sum(-1) / dark.sum(-1)
    return (centre[:, 0] - centre[:, 1]) / 2
