"""Paste-back: what is outside stays bit for bit, what is inside lands where it was cut."""

from pathlib import Path

import faces_common
import numpy as np
import pytest

from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.crop import crop_face
from synclip_core.faces.masks import lower_face_mask, mouth_mask
from synclip_core.faces.paste import paste_face, square_mask


def transform(x: float, y: float, side: float, degrees: float = 0.0) -> np.ndarray:
    """The canonical square with its corner at x, y."""
    a, b = side * np.cos(np.radians(degrees)), side * np.sin(np.radians(degrees))
    return np.array([[a, -b, x], [b, a, y]])


def smooth_picture(height: int = 240, width: int = 320) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + c) * 60 + np.cos(y / 23 - c) * 50 + 128 for c in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 17, -60])
@pytest.mark.parametrize("margin", [0.0, 0.25])
@pytest.mark.parametrize("size", [64, 150, 300])
def test_round_trip(degrees: float, margin: float, size: int) -> None:
    frame = smooth_picture()
    place = transform(0, 0, 100, degrees)
    place[:, 2] = [160, 120] - place[:, :2].sum(1) / 2
    crop = crop_face(frame, place, size, margin)
    inside = paste_face(np.zeros_like(frame), np.full_like(crop, 255), place, margin)[..., 0] > 0
    back = paste_face(frame, crop, place, margin)
    np.testing.assert_array_equal(back[~inside], frame[~inside])
    error = (back[inside].astype(float) - frame[inside]) ** 2
    assert 10 * np.log10(255**2 / max(error.mean(), 1e-9)) > (44 if size > 100 else 38)
    # a margin of 0.25 covers 1.5 times the side; the rest of the frame is untouched
    expected_area = (100 * (1 + 2 * margin)) ** 2
    assert inside.mean() * inside.size == pytest.approx(expected_area, rel=0.1)


def test_a_mark_returns_to_its_place() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    place = transform(100, 40, 120, 20)
    crop = crop_face(frame, place, 240, 0.1).copy()
    span = 1.2
    u, v = 0.3, 0.6  # canonical
    cx, cy = ((np.array([u, v]) + 0.1) / span * 240).round().astype(int)
    crop[cy - 6 : cy + 6, cx - 6 : cx + 6] = 255
    result = paste_face(frame, crop, place, 0.1)[..., 0].astype(float)
    rows, columns = np.mgrid[:200, :300] + 0.5
    centre = np.array([(result * columns).sum(), (result * rows).sum()]) / result.sum()
    expected = geometry.apply(place, np.array([[cx, cy]]) / 240 * span - 0.1)[0]
    np.testing.assert_allclose(centre, expected, atol=0.15)


def test_an_unedited_crop_changes_no_bit_and_an_edit_keeps_detail() -> None:
    frame = np.random.default_rng(0).integers(0, 200, (240, 320, 3), np.uint8)  # detail that no small crop can hold
    place = transform(60, 30, 160, 8)
    crop = crop_face(frame, place, 64)
    np.testing.assert_array_equal(paste_face(frame, crop, place, original=crop), frame)
    brighter = np.clip(crop.astype(int) + 20, 0, 255).astype(np.uint8)
    change = paste_face(frame, brighter, place, original=crop).astype(int) - frame
    x, y = geometry.apply(place, np.array([[0.5, 0.5]]))[0].astype(int)
    np.testing.assert_array_equal(change[y - 20 : y + 20, x - 20 : x + 20], 20)


def test_feather_falls_smoothly_from_one_to_zero() -> None:
    mask = square_mask(200, 0.1)
    row = mask[100]
    assert row[0] < 0.01 and row[-1] < 0.01 and (row[20:180] == 1).all()
    assert (np.diff(row[:21]) >= 0).all() and row[9] == pytest.approx(0.4625, abs=0.03)
    assert (square_mask(8, 0) == 1).all()


def test_faces_at_and_beyond_the_edge() -> None:
    frame = smooth_picture()
    place = transform(-40, 180, 120)
    crop = crop_face(frame, place, 240)
    back = paste_face(frame, crop, place)
    assert np.abs(back.astype(int) - frame).max() < 8
    away = transform(-500, -500, 100)
    np.testing.assert_array_equal(paste_face(frame, crop, away), frame)


def test_masks_cover_what_they_name(data_dir: Path) -> None:
    images = faces_common.read_images(data_dir / faces_common.GRID, 8)
    chunk = faces_common.track(images)[0]
    landmarks, place = chunk.landmarks[4], chunk.transforms[4]
    for margin in (0.0, 0.3):
        lower = lower_face_mask(landmarks, place, 200, margin, feather=0.02)
        mouth = mouth_mask(landmarks, place, 200, margin, feather=0.02)
        points = (geometry.apply(geometry.invert(place), landmarks) + margin) / (1 + 2 * margin) * 200
        x, y = points.astype(int).clip(0, 199).T

        def at(mask: np.ndarray, index: int, x: np.ndarray = x, y: np.ndarray = y) -> float:
            return float(mask[y[index], x[index]])

        lips, chin, eyes, nose = (13, 14, 61, 291), (152, 175), (33, 263, 159), (6, 4)
        assert all(at(mouth, i) > 0.9 for i in lips) and all(at(mouth, i) < 0.05 for i in chin + eyes + nose)
        assert all(at(lower, i) > 0.4 for i in lips + chin) and all(at(lower, i) < 0.05 for i in eyes + nose)
        assert (lower >= mouth - 0.05).all()
    result = paste_face(images[4], np.zeros((200, 200, 3), np.uint8), place, 0.3, mask=mouth)
    changed = (result != images[4]).any(-1)
    inner = landmarks[[13, 14]].mean(0).astype(int)
    assert changed[inner[1], inner[0]] and changed.mean() < 0.03


def test_wrong_pictures_are_refused() -> None:
    frame = smooth_picture()
    for crop in (np.zeros((20, 30, 3), np.uint8), np.zeros((20, 20, 3), np.float32), np.zeros((20, 20, 4), np.uint8)):
        with pytest.raises(SyncLipError, match="crop"):
            paste_face(frame, crop, transform(0, 0, 50))
