"""The 468-point face mesh (Kartynnik et al. 2019; MediaPipe's face_landmark network) on rotated square regions.

A region (ROI) is a similarity transform [2, 3] from the unit square to pixels, like the crops of geometry.py.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from .. import geometry
from ..crop import crop_face
from .blazeface import bundled_graph
from .detector import Detection

ROI_SCALE = 1.5  # of MediaPipe: the side of the region over the longer side of the face's box
LEFT_EYE_OUTER, RIGHT_EYE_OUTER = 33, 263  # as they stand in the image of an upright face
NUM_POINTS = 468
STRIDE_FROM = 512  # regions of twice this side and more are read every second (third, ...) pixel: enough for 192
LEVEL = np.tan(np.radians(6.0))  # a face tilted less than this is read from an upright region, which is far cheaper


def square_roi(centre: np.ndarray, side: ArrayLike, angle: ArrayLike) -> np.ndarray:
    """centre: [..., 2], side: [...], angle: [...] (radians, clockwise on screen). Returns [..., 2, 3]."""
    a, b = np.cos(angle) * np.asarray(side), np.sin(angle) * np.asarray(side)
    linear = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], -2)
    shift = centre - linear.sum(-1) / 2
    return np.concatenate([linear, shift[..., None]], -1)


def roi_from_detection(face: Detection) -> np.ndarray:
    """[2, 3]: the detection's box, made square, turned so that the eyes are level, grown by ROI_SCALE."""
    box = face.box.astype(np.float64)
    side = ROI_SCALE * max(box[2] - box[0], box[3] - box[1])
    angle = 0.0
    if face.points is not None:
        dx, dy = (face.points[1] - face.points[0]).astype(np.float64)
        angle = np.arctan2(dy, dx)
    return square_roi((box[:2] + box[2:]) / 2, side, angle)


def roi_from_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """landmarks: [..., 468, 2+] px. Returns [..., 2, 3]: their box in the turned frame, made square, grown."""
    points = np.asarray(landmarks, np.float64)[..., :2]
    dx, dy = np.moveaxis(points[..., RIGHT_EYE_OUTER, :] - points[..., LEFT_EYE_OUTER, :], -1, 0)
    angle = np.arctan2(dy, dx)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    level = np.einsum("...ij,...pj->...pi", turn, points)
    low, high = level.min(-2), level.max(-2)
    centre = np.einsum("...ji,...j->...i", turn, (low + high) / 2)
    return square_roi(centre, ROI_SCALE * (high - low).max(-1), angle)


def snap_level(rois: np.ndarray) -> np.ndarray:
    """Regions [N, 2, 3], those tilted by less than 6 degrees made upright and whole pixels.

    On real clips that costs no accuracy (the mesh knows tilted heads) and a third of the time.
    """
    rois = np.array(rois, np.float64).reshape(-1, 2, 3)
    nearly = np.abs(rois[:, 1, 0]) < LEVEL * rois[:, 0, 0]
    side = np.hypot(rois[:, 0, 0], rois[:, 1, 0])
    step = np.maximum(side // STRIDE_FROM, 1)
    side = np.maximum(np.rint(side / step), 1) * step
    corner = np.rint(rois[:, :, :2].sum(-1) / 2 + rois[:, :, 2] - side[:, None] / 2)
    upright = np.concatenate([side[:, None, None] * np.eye(2), corner[..., None]], -1)
    return np.where(nearly[:, None, None], upright, rois)


def read_region(image: np.ndarray, roi: np.ndarray, size: int) -> torch.Tensor:
    """[3, size, size] uint8: the region of `image` (black outside); upright whole-pixel regions take the fast way."""
    if roi[1, 0] != 0 or roi[0, 0] != np.rint(roi[0, 0]):
        return torch.from_numpy(np.array(crop_face(image, roi, size))).permute(2, 0, 1)
    side, left, top = int(roi[0, 0]), int(roi[0, 2]), int(roi[1, 2])
    height, width = image.shape[:2]
    part = image[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    if 0 in part.shape:
        return torch.zeros(3, size, size, dtype=torch.uint8)
    if part.shape[:2] != (side, side):
        whole = np.zeros((side, side, 3), np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        whole[y : y + part.shape[0], x : x + part.shape[1]] = part
        part = whole
    step = max(side // STRIDE_FROM, 1)
    part = np.array(part[step // 2 :: step, step // 2 :: step])
    channels_last = torch.from_numpy(part).permute(2, 0, 1)[None]
    return F.interpolate(channels_last, (size, size), mode="bilinear", antialias=True)[0]


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """[..., 468, 2+] -> [..., 4] float32 box x0, y0, x1, y1."""
    points = landmarks[..., :2]
    return np.concatenate([points.min(-2), points.max(-2)], -1).astype(np.float32)


class FaceMesh:
    """Landmarks of faces whose regions are known; any number of faces and frames, `batch` at a time (8 is the fastest
    on a CPU: its caches still hold the activations)."""

    def __init__(self, device: str | torch.device = "cpu", batch: int = 8) -> None:
        self.graph = bundled_graph("face_mesh").to(device)
        self.device = torch.device(device)
        self.batch = batch

    def landmarks(self, images: list[np.ndarray], rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """images: N of [H, W, 3] uint8; rois: [N, 2, 3].

        Returns landmarks [N, 468, 3] float32 (x, y in pixels of the image, z in the same unit, negative towards the
        camera) and presence [N] float32 in 0..1 (is there a face in the region at all).
        """
        rois = snap_level(rois)
        size = self.graph.input_size
        points = np.empty((len(images), NUM_POINTS, 3), np.float32)
        presence = np.empty(len(images), np.float32)
        for start in range(0, len(images), self.batch):
            part = slice(start, start + self.batch)
            crops = [read_region(image, roi, size) for image, roi in zip(images[part], rois[part], strict=True)]
            outputs = self.graph(torch.stack(crops).to(self.device).float() / 255)
            raw, logit = sorted((o.flatten(1) for o in outputs), key=lambda o: -o.shape[1])
            points[part] = raw.reshape(-1, NUM_POINTS, 3).cpu().numpy() / size
            presence[part] = torch.sigmoid(logit[:, 0]).cpu().numpy()
        points[..., :2] = geometry.apply(rois, points[..., :2].astype(np.float64))
        points[..., 2] *= np.sqrt(np.abs(np.linalg.det(rois[:, :, :2])))[:, None]
        return points, presence
