"""What the eyes and brows of a face do, frame by frame: closed lids, brow height, gaze to the side.

The mesh hardly moves its lid points in a blink (FACES.md), but it knows where the eyes are. So lids and gaze are read
from the pixels of an upright patch of each eye, and the brows from the mesh, which does follow them. Every limit is a
definition; how often it is right was judged by eye (weights/ATTRIBUTES.md, Eyes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .eye_patches import CORNERS, HEIGHT, WIDTH, places
from .fit import UNKNOWN

BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
MEDIAN, HOP = 50, 5  # an eye's usual look: median of the ticks up to 2 s before and after, anew every 5 ticks
CLOSED, OPEN = 3.0, 1.5  # Lids.change: lids are down from the one on, up to the other they are up
LID = -0.5  # Lids.look: closed lids look at least so much like lids by themselves, not only beside the usual look
TURNED, FAINT = 0.17, 14.0  # of a head turned further, and of a picture of less contrast, nothing is told
OTHER, RESTLESS = 8.0, 4.3  # Lids.other: what changes further is no lid; where it usually does, nothing is told
EDGE = 2  # ticks beside closed lids that are not known


@dataclass(frozen=True)
class Lids:
    """Of each frame, the mean of both eyes, float [T]. change: how far they look like closed lids against their usual
    look, about 0 while open and 3 to 7 closed; other: how far they changed otherwise, as with a head that moves or a
    mesh that slips; look: how far the frame by itself looks like lids, about -4 open and 2 closed; contrast: grey
    values, of the fainter eye."""

    change: np.ndarray
    other: np.ndarray
    look: np.ndarray
    contrast: np.ndarray


def read_lids(patches: np.ndarray, valid: np.ndarray) -> Lids:
    """patches: uint8 [T, 2, 14, 24]; valid: bool [T].

    Where the pupil was there is bright lid, and the dark lashes lie lower: the change against the usual look, in units
    of that look's contrast, is projected on that template.
    """
    if not valid.any():
        return Lids(*np.zeros((4, len(patches))))
    small = patches.reshape(len(patches), 2, HEIGHT // 2, 2, WIDTH // 2, 2).mean((3, 5)).reshape(len(patches), 2, -1)
    usual, template = usual_look(small, valid), lid_template()
    contrast = usual.std(-1, keepdims=True) + 3.0  # a dark eye without contrast is noise
    own = (small - small.mean(-1, keepdims=True)) / (small.std(-1, keepdims=True) + 3.0)
    change = (small - usual) / contrast
    lid = change @ template
    other = np.sqrt(np.maximum((change**2).sum(-1) - lid**2, 0))
    return Lids(lid.mean(1), other.mean(1), (own @ template).mean(1), contrast[..., 0].min(1))


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


def blink_truth(lids: Lids, turn: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """int [T]: 1 lids down, 0 lids up, UNKNOWN between the two, beside closed lids, and where nothing is told.

    turn: float [T], `head_pose`'s first column.
    """
    if not valid.any():
        return np.full(len(valid), UNKNOWN)
    calm = usual_look(lids.other, valid) <= RESTLESS
    told = valid & calm & (np.abs(turn) <= TURNED) & (lids.contrast >= FAINT)
    closed = told & (lids.change >= CLOSED) & (lids.look >= LID) & (lids.other <= OTHER)
    near = np.convolve(closed, np.ones(2 * EDGE + 1), "same") > 0
    up = told & ~near & (lids.change < OPEN)
    return np.where(closed, 1, np.where(up, 0, UNKNOWN))


def head_pose(points: np.ndarray, names: Sequence[int] | None = None) -> np.ndarray:
    """Nose tip (mesh point 1) off the middle of the outer eye corners, over their distance: [T, P, 2] -> [T, 2], to the
    right and down in the picture."""
    outer = points[:, places((CORNERS[0], CORNERS[3]), names)].astype(np.float64)
    width = np.maximum(np.linalg.norm(outer[:, 1] - outer[:, 0], axis=-1, keepdims=True), 1e-6)
    return (points[:, places((1,), names)[0]] - outer.mean(1)) / width


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
    height, pose = brow_height(points, names), head_pose(points, names)
    terms = np.concatenate([pose, pose**2, np.ones((len(pose), 1))], 1)
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
