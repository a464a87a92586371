"""Detection: the arithmetic in closed form, faces in real frames at any size and place."""

from pathlib import Path

import faces_common
import numpy as np
import pytest
from PIL import Image

from synclip_core.errors import SyncLipError
from synclip_core.faces.detect.blazeface import BlazeFaceDetector, anchor_centres, letterbox, tiles
from synclip_core.faces.detect.detector import Detection, merge_overlapping, overlap
from synclip_core.faces.detect.mediapipe_task import MediaPipeTaskDetector


def box(*corners: float) -> np.ndarray:
    return np.array(corners, np.float32)


def test_overlap_in_closed_form() -> None:
    iou = overlap(np.stack([box(0, 0, 2, 2), box(5, 5, 6, 6)]), np.stack([box(1, 0, 3, 2), box(0, 0, 2, 2)]))
    np.testing.assert_allclose(iou, [[2 / 6, 1], [0, 0]])


def test_merging_weights_by_score() -> None:
    points = np.array([[0, 0], [4, 4]], np.float32)
    faces = [
        Detection(box(50, 50, 60, 60), 0.7),
        Detection(box(0, 0, 10, 10), 0.9, points),
        Detection(box(3, 0, 13, 10), 0.6, points + 3),
    ]
    merged = merge_overlapping(faces)
    assert [face.score for face in merged] == [0.9, 0.7]
    np.testing.assert_allclose(merged[0].box, [1.2, 0, 11.2, 10], atol=1e-5)
    np.testing.assert_allclose(merged[0].points, points + 1.2, atol=1e-5)
    np.testing.assert_array_equal(merged[1].box, faces[0].box)


def test_anchors() -> None:
    short = anchor_centres("short", 128)
    assert len(short) == 16 * 16 * 2 + 8 * 8 * 6
    np.testing.assert_allclose(short[[0, 1, 2, 512, 518]] * 128, [[4, 4], [4, 4], [12, 4], [8, 8], [24, 8]])
    full = anchor_centres("full", 192)
    assert len(full) == 48 * 48
    np.testing.assert_allclose(full[[0, 48]] * 192, [[2, 2], [2, 6]])


def test_letterbox_maps_back() -> None:
    image = np.zeros((100, 400, 3), np.uint8)
    image[60:64, 300:304] = 255
    square, scale, (dx, dy) = letterbox(image, 128)
    y, x = np.argwhere(square[..., 0] == square[..., 0].max()).mean(0) + 0.5
    assert abs(x * scale + dx - 302) < 2 and abs(y * scale + dy - 62) < 2


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (1920, 1080), (300, 3000), (64, 64), (3, 500), (1, 1)])
def test_tiles_cover_the_frame_with_overlap(height: int, width: int) -> None:
    seen = np.zeros((height, width), int)
    for x, y, w, h in tiles(height, width)[1:] or tiles(height, width):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        seen[y : y + h, x : x + w] += 1
    assert seen.min() >= 1
    assert not BlazeFaceDetector().detect([np.zeros((height, width, 3), np.uint8)])[0]


@pytest.fixture(scope="module")
def frame(data_dir: Path) -> np.ndarray:
    return faces_common.read_images(data_dir / faces_common.GRID, 1)[0]


@pytest.mark.parametrize(
    ("height", "width", "face", "left", "top"),
    [
        (720, 1280, 500, 300, 40),
        (1080, 1920, 150, 1600, 700),  # small, near a corner
        (2160, 3840, 300, 3000, 200),
        (4320, 7680, 500, 600, 3000),
        (1280, 720, 250, 100, 900),
        (131, 197, 50, 9, 5),
    ],
)
def test_finds_a_face_of_any_size_anywhere(
    frame: np.ndarray, height: int, width: int, face: int, left: int, top: int
) -> None:
    # the GRID frame is 360 x 288; its speaker's box, found at full size, is carried along
    detector = BlazeFaceDetector()
    reference = detector.detect([frame])[0][0]
    scale = face / (reference.box[2] - reference.box[0])
    small = np.asarray(Image.fromarray(frame).resize((round(360 * scale), round(288 * scale))))
    canvas = np.full((height, width, 3), 90, np.uint8)
    part = small[: height - top, : width - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    expected = reference.moved(scale, (left, top))
    found = detector.detect([canvas])[0]
    assert len(found) == 1
    assert overlap(found[0].box, expected.box)[0, 0] > 0.45  # the full-range network draws its boxes larger
    assert found[0].points is not None and expected.points is not None
    # the same eyes, image-left one first
    assert np.abs(found[0].points[:2] - expected.points[:2]).max() < 0.15 * face


def test_task_file_problems_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SyncLipError, match="no such file"):
        MediaPipeTaskDetector(tmp_path / "absent.task")
    model = tmp_path / "model.tflite"
    model.write_bytes(b"1234TFL3")
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)  # makes the import fail even where installed
    with pytest.raises(SyncLipError, match="pip install mediapipe"):
        MediaPipeTaskDetector(model)
