"""The tracker on real frames: one face, two, cuts, gaps under every policy, chunking, memory."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import faces_common
import numpy as np
import pytest
from faces_common import Still, as_ticks, track
from PIL import Image

from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.crop import crop_face
from synclip_core.faces.track_output import TrackOptions
from synclip_core.faces.tracking import BLOCK, FaceTracker, track_ticks


@pytest.fixture(scope="module")
def grid(data_dir: Path) -> list[np.ndarray]:
    return faces_common.read_images(data_dir / faces_common.GRID, 75)


@pytest.fixture(scope="module")
def other(data_dir: Path) -> list[np.ndarray]:
    """Another person, on a canvas of the GRID clip's size."""
    images = faces_common.read_images(data_dir / faces_common.OTHER, 60)
    return [np.asarray(Image.fromarray(i).resize((288, 288)).crop((-36, 0, 324, 288))) for i in images]


@pytest.fixture(scope="module")
def wide(grid: list[np.ndarray]) -> list[np.ndarray]:
    """The same speaker, not filling the picture."""
    result = [np.full((480, 720, 3), (60, 90, 70), np.uint8) for _ in grid]
    for canvas, image in zip(result, grid, strict=True):
        canvas[150:438, 200:560] = image
    return result


def blank(images: list[np.ndarray], first: int, last: int) -> list[np.ndarray]:
    """Frames first .. last - 1 smeared over from their left edge: no face there, and yet no cut."""
    result = list(images)
    for i in range(first, last):
        result[i] = images[i].copy()
        result[i][:, 200:] = images[i][:, 199:200]
    return result


def test_one_speaker_is_one_track(grid: list[np.ndarray]) -> None:
    tracks = track(grid)
    assert list(tracks) == [0]
    face = tracks[0]
    np.testing.assert_array_equal(face.ticks, np.arange(75))
    assert face.valid.all() and face.score.min() > 0.9
    # what is reported is what was cut, bit for bit, and it is the canonical face
    for i in (0, 1, 37, 74):
        np.testing.assert_array_equal(face.crops[i], crop_face(grid[i], face.transforms[i].astype(np.float64), 112))
    eyes = geometry.apply(geometry.invert(face.transforms), face.landmarks)[:, [33, 263]]
    np.testing.assert_allclose(eyes.mean(0), [[0.275, 0.33], [0.725, 0.33]], atol=0.04)
    inside = (face.landmarks >= face.boxes[:, None, :2]) & (face.landmarks <= face.boxes[:, None, 2:])
    assert inside.all()


def test_smoothing_in_the_stream_is_smoothing_of_the_whole(grid: list[np.ndarray]) -> None:
    raw, smoothed = track(grid, smoothing=0.0)[0], track(grid, smoothing=1.5, chunk=7)[0]
    np.testing.assert_allclose(
        smoothed.transforms, geometry.smooth_transforms(raw.transforms.astype(np.float64), 1.5), atol=1e-3
    )
    assert np.abs(raw.transforms - smoothed.transforms).max() > 0.05
    np.testing.assert_allclose(raw.transforms, geometry.face_transform(raw.landmarks), atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 13, 1000])
def test_chunk_size_changes_nothing(wide: list[np.ndarray], chunk: int) -> None:
    images = blank(wide, 30, 36)
    expected, got = track(images)[0], track(images, chunk=chunk)[0]
    for name in ("ticks", "crops", "valid", "transforms", "landmarks", "boxes", "score"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
    sizes = [len(c.ticks) for c in track_ticks(as_ticks(images), TrackOptions(chunk=chunk))]
    assert max(sizes) == min(chunk, 75) and sum(sizes) == 75


def test_missing_faces_by_policy(wide: list[np.ndarray]) -> None:
    images = blank(wide, 30, 40)
    gap = np.arange(30, 40)
    held = track(images, missing="hold", smoothing=0.0)[0]
    np.testing.assert_array_equal(np.flatnonzero(~held.valid), gap)
    assert (held.score[gap] == 0).all()
    np.testing.assert_array_equal(held.transforms[gap], np.repeat(held.transforms[29:30], 10, 0))
    between = track(images, missing="interpolate", smoothing=0.0)[0]
    np.testing.assert_array_equal(np.flatnonzero(~between.valid), gap)
    ends = between.transforms[[29, 40]].astype(np.float64)
    assert np.abs(ends[0] - ends[1]).max() > 0.1
    share = (np.arange(1, 11) / 11)[:, None, None]
    np.testing.assert_allclose(between.transforms[gap], (1 - share) * ends[0] + share * ends[1], atol=1e-3)
    # the filled-in crops show these frames, not the last good one
    np.testing.assert_array_equal(held.crops[35], crop_face(images[35], held.transforms[35].astype(np.float64), 112))
    chunks = list(track_ticks(as_ticks(images), TrackOptions(missing="skip")))
    assert [(c.ticks[0], c.ticks[-1]) for c in chunks] == [(0, 29), (40, 74)]
    assert {c.track_id for c in chunks} == {0} and all(c.valid.all() for c in chunks)
    with pytest.raises(SyncLipError, match=r"no face at 1\.20 s"):
        track(images, missing="error")
    with pytest.raises(SyncLipError, match="hold, interpolate"):
        TrackOptions(missing="ignore")


def test_a_long_gap_ends_the_track(wide: list[np.ndarray]) -> None:
    tracks = track(blank(wide, 20, 50), max_gap=10)
    assert [(t.ticks[0], t.ticks[-1]) for t in tracks.values()] == [(0, 19), (50, 74)]
    assert all(t.valid.all() for t in tracks.values())
    assert list(track(blank(wide, 20, 50), max_gap=40)) == [0]


def test_faces_only_later_and_only_at_first(wide: list[np.ndarray]) -> None:
    late = track(blank(wide, 0, 20))[0]
    assert 20 <= late.ticks[0] <= 24 and late.ticks[-1] == 74
    early = track(blank(wide, 20, 75))[0]
    assert early.ticks[-1] == 19 and early.valid.all()


def test_no_face_and_no_frames() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 90, 120, 3), np.uint8)
    assert track(list(noise)) == {}
    assert track([]) == {}
    with pytest.raises(SyncLipError, match="no face"):
        track(list(noise), missing="error")
    assert track([np.zeros((1, 1, 3), np.uint8)]) == {}


def test_a_single_frame(grid: list[np.ndarray]) -> None:
    face = track(grid[:1])[0]
    assert face.ticks.tolist() == [0] and face.valid.all() and face.crops.std() > 20


def test_a_cut_starts_new_tracks(grid: list[np.ndarray], other: list[np.ndarray]) -> None:
    for cut in (8, 21):
        tracks = track(grid[:cut] + other[:20])
        assert [(t.ticks[0], t.ticks[-1]) for t in tracks.values()] == [(0, cut - 1), (cut, cut + 19)]


def test_cuts_of_a_real_film(data_dir: Path) -> None:
    images = faces_common.read_images(data_dir / "talk/auto_avsr_49ddcdde.mp4", 151)
    tracks = track(images)
    assert [(t.ticks[0], t.ticks[-1]) for t in tracks.values()] == [(0, 22), (23, 142), (143, 150)]


def test_two_people_side_by_side(grid: list[np.ndarray], other: list[np.ndarray]) -> None:
    images = [np.concatenate([a, b], 1) for a, b in zip(other, grid, strict=False)]
    tracks = track(images)
    assert list(tracks) == [0, 1]
    for face, alone, shift in ((tracks[0], track(other)[0], 0), (tracks[1], track(grid[:60])[0], 360)):
        assert len(face.ticks) == 60 and face.valid.all()
        error = faces_common.landmark_error(face.landmarks - [shift, 0], alone.landmarks)
        assert np.median(error) < 0.02
    # room for one: the larger face
    area = {i: np.prod(t.boxes[:, 2:] - t.boxes[:, :2], 1).mean() for i, t in tracks.items()}
    only = track(images, max_faces=1)[0]
    assert (only.boxes[:, 0].mean() > 360) == (area[1] > area[0])


def test_one_of_two_leaves_and_returns(wide: list[np.ndarray], other: list[np.ndarray]) -> None:
    gone = blank(wide, 16, 32)
    images = [np.concatenate([np.pad(a, ((0, 192), (0, 0), (0, 0))), b], 1) for a, b in zip(other, gone, strict=False)]
    tracks = track(images, missing="hold")
    assert list(tracks) == [0, 1]
    assert tracks[0].valid.all()
    np.testing.assert_array_equal(np.flatnonzero(~tracks[1].valid), np.arange(16, 32))


def test_a_fast_head_is_followed(grid: list[np.ndarray]) -> None:
    # the same frame moved by up to 20 pixels a tick, back and forth, over a wide canvas
    images, places = [], []
    for k in range(60):
        x = round(200 + 180 * np.sin(k / 9))
        canvas = np.full((288, 760, 3), 100, np.uint8)
        canvas[:, x : x + 360] = grid[0]
        images.append(canvas)
        places.append(x)
    face = track(images, smoothing=0.0)[0]
    assert face.valid.all() and len(face.ticks) == 60
    still = face.landmarks - np.stack([places, np.zeros(60)], -1)[:, None]
    error = faces_common.landmark_error(still, np.repeat(np.median(still, 0, keepdims=True), 60, 0))
    assert error.max() < 0.03


def test_repeated_frames_are_looked_at_once(grid: list[np.ndarray]) -> None:
    stills = [Still(k, k / 12.5, image) for k, image in enumerate(grid[:20])]
    tracker = FaceTracker()
    looked = 0
    inner = tracker.mesh.landmarks

    def count(images: list[np.ndarray], rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal looked
        looked += len(images)
        return inner(images, rois)

    tracker.mesh.landmarks = count  # type: ignore[method-assign]
    face = faces_common.join(list(tracker.run((k, stills[k // 2]) for k in range(40))))[0]
    np.testing.assert_array_equal(face.landmarks[::2], face.landmarks[1::2])
    assert len(face.ticks) == 40 and looked <= 20 + 4


@pytest.mark.parametrize("missing", ["hold", "interpolate"])
def test_frames_are_let_go(grid: list[np.ndarray], missing: str) -> None:
    alive: set[int] = set()
    most = 0

    def frames() -> Iterator[tuple[int, Still]]:
        nonlocal most
        # faces are small in the frame, and missing most of the time
        for k in range(120):
            image = np.full((600, 800, 3), 90, np.uint8)
            if k % 40 < 20:
                image[100:388, 200:560] = grid[k % 40]
            frame = Still(k, k / 25, image)
            alive.add(k)
            weakref.finalize(image, alive.discard, k)
            most = max(most, len(alive))
            yield k, frame
            del frame, image

    faces = faces_common.join(list(FaceTracker(TrackOptions(missing=missing)).run(frames())))
    assert sum(len(t.ticks) for t in faces.values()) >= 60
    assert most <= BLOCK + 4
