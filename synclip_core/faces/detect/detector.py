"""Where are faces in a frame: the protocol, and what detectors share.

The default is blazeface.BlazeFaceDetector; mediapipe_task.MediaPipeTaskDetector is for those who have that package.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Detection:
    """A face: box [4] float32 (x0, y0, x1, y1 in pixels), score 0..1, points [K, 2] float32 in pixels or None.

    points: the eye on the image's left, the other eye, nose tip, mouth; BlazeFace adds both ears (K = 6).
    """

    box: np.ndarray
    score: float
    points: np.ndarray | None = None

    def moved(self, scale: float, shift: tuple[float, float]) -> "Detection":
        """The same face after pixels were multiplied by `scale`, then moved by `shift` (x, y)."""
        points = None if self.points is None else (self.points * scale + np.asarray(shift)).astype(np.float32)
        return Detection((self.box * scale + np.asarray(shift * 2)).astype(np.float32), self.score, points)


class FaceDetector(Protocol):
    """Anything that finds faces can drive the tracker."""

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """images: [H, W, 3] uint8 each. Returns the faces of each image, best first."""
        ...


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of [N, 4] and [M, 4] boxes -> [N, M]."""
    boxes, others = np.asarray(boxes, np.float64).reshape(-1, 1, 4), np.asarray(others, np.float64).reshape(1, -1, 4)
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    shared = np.prod(np.maximum(sides, 0), -1)
    areas = np.prod(boxes[..., 2:] - boxes[..., :2], -1) + np.prod(others[..., 2:] - others[..., :2], -1)
    return shared / np.maximum(areas - shared, 1e-9)


def merge_overlapping(faces: list[Detection], threshold: float = 0.3) -> list[Detection]:
    """MediaPipe's weighted non-maximum suppression: each group becomes its score-weighted mean, best group first."""
    if not faces:
        return []
    order = np.argsort([-face.score for face in faces], kind="stable")
    boxes, scores = np.stack([face.box for face in faces])[order], np.array([face.score for face in faces])[order]
    iou = overlap(boxes, boxes)
    free = np.ones(len(faces), bool)
    merged = []
    for i in range(len(faces)):
        if not free[i]:
            continue
        group = np.flatnonzero(free & (iou[i] > threshold))
        group = group if len(group) else np.array([i])
        free[group] = False
        weight = (scores[group] / scores[group].sum())[:, None]
        stacked = [faces[order[j]].points for j in group]
        points = None
        if all(p is not None for p in stacked):
            points = (np.stack([p for p in stacked if p is not None]) * weight[..., None]).sum(0).astype(np.float32)
        merged.append(Detection((boxes[group] * weight).sum(0).astype(np.float32), float(scores[i]), points))
    return merged
