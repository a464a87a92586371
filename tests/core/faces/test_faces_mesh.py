"""The face mesh in source pixels: against MediaPipe itself, and under rotation, scale and place.

data/face_mesh_mediapipe.npz: landmarks by MediaPipe 0.10.14 (its later attention mesh) at some ticks of real clips.
"""

from pathlib import Path

import faces_common
import numpy as np
import pytest
from PIL import Image

from synclip_core.faces import geometry
from synclip_core.faces.crop import crop_face
from synclip_core.faces.detect.blazeface import BlazeFaceDetector
from synclip_core.faces.detect.detector import Detection
from synclip_core.faces.detect.face_mesh import (
    FaceMesh,
    read_region,
    roi_from_detection,
    roi_from_landmarks,
    snap_level,
    square_roi,
)

REFERENCE = Path(__file__).parents[2] / "data" / "face_mesh_mediapipe.npz"


@pytest.mark.parametrize("key", sorted(np.load(REFERENCE)))
def test_agrees_with_mediapipe(data_dir: Path, key: str) -> None:
    name, tick = key.split(":")
    reference = np.load(REFERENCE)[key]
    image = faces_common.read_images(data_dir / name, int(tick) + 1)[-1]
    face = BlazeFaceDetector().detect([image])[0][0]
    first, _ = FaceMesh().landmarks([image], roi_from_detection(face)[None])
    points, presence = FaceMesh().landmarks([image], roi_from_landmarks(first))
    assert presence[0] > 0.9
    assert faces_common.landmark_error(points, reference[None])[0] < 0.05


@pytest.fixture(scope="module")
def image(data_dir: Path) -> np.ndarray:
    return faces_common.read_images(data_dir / faces_common.OTHER, 10)[-1]


def find(image: np.ndarray, roi: np.ndarray) -> tuple[np.ndarray, float]:
    points, presence = FaceMesh().landmarks([image], roi[None])
    return points[0], float(presence[0])


@pytest.mark.parametrize("degrees", [-40, -4, 5, 25])
def test_turns_with_the_image(image: np.ndarray, degrees: float) -> None:
    upright, _ = find(image, roi_from_detection(BlazeFaceDetector().detect([image])[0][0]))
    upright, _ = find(image, roi_from_landmarks(upright))
    height, width = image.shape[:2]
    turned = np.asarray(Image.fromarray(image).rotate(-degrees, Image.Resampling.BILINEAR))  # clockwise on screen
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width, height]) / 2
    expected = (upright[:, :2] - centre) @ matrix.T + centre
    found, presence = find(turned, roi_from_landmarks(expected))
    assert presence > 0.9
    assert faces_common.landmark_error(found[None], expected[None])[0] < 0.03


def test_depth_is_in_pixels(image: np.ndarray) -> None:
    roi = roi_from_detection(BlazeFaceDetector().detect([image])[0][0])
    small, _ = find(image, roi)
    height, width = image.shape[:2]
    double = np.asarray(Image.fromarray(image).resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
    large, _ = find(double, 2 * roi)
    np.testing.assert_allclose(large, 2 * small, atol=0.04 * faces_common.eye_distance(large))
    assert small[1, 2] < small[234, 2] - 0.3 * faces_common.eye_distance(small)  # the nose is nearer than the ear


def test_no_face_no_presence(image: np.ndarray) -> None:
    roi = square_roi(np.array([20.0, 20.0]), 40.0, 0.0)
    assert find(image, roi)[1] < 0.1
    assert find(np.full_like(image, 128), roi)[1] < 0.1


def test_regions_in_closed_form() -> None:
    face = Detection(np.array([10, 20, 30, 60], np.float32), 1.0, np.array([[10, 30], [10, 50]], np.float32))
    # eyes stand one below the other: the region is turned by 90 degrees clockwise, its side is 1.5 * 40
    corners = geometry.apply(roi_from_detection(face), np.array([[0, 0], [1, 0], [0.5, 0.5]], float))
    np.testing.assert_allclose(corners, [[50, 10], [50, 70], [20, 40]], atol=1e-6)
    landmarks = np.tile(np.array([[0.0, 0.0]]), (468, 1))
    landmarks[33], landmarks[263], landmarks[152] = (-10, 0), (10, 0), (0, 40)
    corners = geometry.apply(roi_from_landmarks(landmarks), np.array([[0, 0], [1, 1]], float))
    np.testing.assert_allclose(corners, [[-30, -10], [30, 50]], atol=1e-9)


def test_only_level_regions_are_snapped() -> None:
    rois = np.stack([square_roi(np.array([50.2, 60.7]), 40.3, np.radians(a)) for a in (0, 5, -7, 175)])
    snapped = snap_level(rois)
    np.testing.assert_array_equal(snapped[0], [[40, 0, 30], [0, 40, 41]])
    np.testing.assert_array_equal(snapped[1], snapped[0])
    np.testing.assert_array_equal(snapped[2:], rois[2:])


@pytest.mark.parametrize(("centre", "side"), [((180, 200), 250), ((5, 10), 120), ((370, 380), 300), ((-500, 0), 90)])
def test_both_ways_to_read_a_region_agree(image: np.ndarray, centre: tuple[int, int], side: int) -> None:
    roi = snap_level(square_roi(np.array(centre, float), float(side), 0.0)[None])[0]
    fast = read_region(image, roi, 96).permute(1, 2, 0).numpy().astype(float)
    slow = crop_face(image, roi, 96).astype(float)
    assert np.abs(fast - slow).mean() < 4
