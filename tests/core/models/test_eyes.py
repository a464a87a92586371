"""Blinks, brows and gaze on drawn faces, where the answer is known, and on real ones, looked at by eye."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from synclip_core.faces import geometry
from synclip_core.faces.track_output import TrackOptions
from synclip_core.faces.tracking import FaceTracker
from synclip_core.media.video import iter_ticks
from train.attributes.eye_patches import eye_patches
from train.attributes.eyes import (
    CLOSED,
    FAINT,
    MEDIAN,
    OPEN,
    OTHER,
    RESTLESS,
    TURNED,
    Lids,
    blink_truth,
    brow_height,
    brow_motion,
    gaze,
    head_pose,
    read_lids,
    usual_look,
)
from train.attributes.fit import UNKNOWN

SIZE = 112
EYES = ((33, 133), (362, 263))  # corners from left to right in the picture


def face(
    closed: bool = False, look: float = 0.0, skin: int = 170, brow: float = 0.1, nod: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A drawn crop [112, 112, 3] and landmarks [468, 2] in the canonical square. look: of the pupils, in eye widths."""
    points = np.zeros((468, 2))
    points[[33, 133, 362, 263]] = (0.275, 0.33), (0.4132, 0.338), (0.5868, 0.338), (0.725, 0.33)
    points[1] = 0.5, 0.5 + nod
    points[[70, 63, 105, 66, 107]] = np.linspace((0.26, 0.33 - brow), (0.44, 0.33 - brow), 5)
    points[[300, 293, 334, 296, 336]] = np.linspace((0.74, 0.33 - brow), (0.56, 0.33 - brow), 5)
    picture = Image.new("L", (4 * SIZE, 4 * SIZE), skin)
    draw = ImageDraw.Draw(picture)
    for a, b in EYES:
        (x0, y0), (x1, y1) = points[a] * 4 * SIZE, points[b] * 4 * SIZE
        wide, high = (x1 - x0) / 2, 0.36 * (x1 - x0) / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        if closed:
            draw.line([(x0, y), (x, y + high), (x1, y)], fill=skin // 4, width=6)
        else:
            draw.ellipse(
                [x - wide, y - high, x + wide, y + high], fill=min(255, skin * 5 // 4), outline=skin // 4, width=3
            )
            pupil = x + 2 * wide * look
            draw.ellipse([pupil - high, y - high, pupil + high, y + high], fill=skin // 6)
    small = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX))
    return np.repeat(small[..., None], 3, 2), points


def run(frames: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([crop for crop, _ in frames]), np.stack([points for _, points in frames])


@pytest.mark.parametrize("skin", [60, 120, 190])
def test_closed_lids_are_told_from_open_eyes_and_moving_ones(skin: int) -> None:
    down = {20, 21, 22, 60, 61, 62, 63}
    looks = 0.15 * np.sin(np.arange(120) / 5)
    crops, points = run([face(t in down, looks[t], skin) for t in range(120)])
    score = read_lids(eye_patches(crops, points), np.ones(120, bool)).change
    told = {int(t) for t in np.flatnonzero(score >= CLOSED)}
    assert told == down
    assert (np.delete(score, sorted(down)) < OPEN).mean() > 0.9
    # a face that got darker altogether has not closed its eyes
    dim = crops.copy()
    dim[80:] = dim[80:] // 2
    assert not (read_lids(eye_patches(dim, points), np.ones(120, bool)).change[80:] >= CLOSED).any()


def test_frames_without_a_face_neither_count_nor_spoil_the_rest() -> None:
    crops, points = run([face(t in (30, 31)) for t in range(80)])
    valid = np.ones(80, bool)
    valid[10:25] = False
    crops[10:25], points[10:25] = 0, 0.5
    truth = blink_truth(read_lids(eye_patches(crops, points), valid), head_pose(points)[:, 0], valid)
    assert set(np.flatnonzero(truth == 1)) == {30, 31} and (truth[10:25] == UNKNOWN).all()
    assert (truth[[28, 29, 32, 33]] == UNKNOWN).all() and truth[40:].max() == 0
    assert not read_lids(eye_patches(crops, points), np.zeros(80, bool)).change.any()


def test_what_lies_between_open_and_closed_is_not_known() -> None:
    change = np.array([0.0, 1.4, 1.6, 2.9, 3.1, 0.0, 0.0, 0.0, -1.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    lids = Lids(change, np.full(15, 2.0), np.where(change > 3, 1.0, -4.0), np.full(15, 30.0))
    still, seen = np.zeros(15), np.ones(15, bool)
    unknown = UNKNOWN
    plain = [0, 0, unknown, unknown, 1, unknown, unknown, unknown, unknown, 1, unknown, unknown, 0, 0, 0]
    assert blink_truth(lids, still, seen).tolist() == plain
    # what has changed like a lid, but does not look like one, is none; and nothing is told of a faint or turned face
    lids.look[9] = -2.0
    assert blink_truth(lids, still, seen).tolist()[7:] == [0, 0, unknown, 0, 0, 0, 0, 0]
    lids.contrast[:2] = FAINT - 1
    still[4], still[-1] = TURNED + 0.1, -TURNED - 0.1
    found = blink_truth(lids, still, seen).tolist()
    assert found[:2] == [unknown] * 2 and found[4] == found[-1] == unknown and found[5] == 0
    # what changes in other ways too is a head that moves, and a face that always does is not read at all
    still[4], lids.other[4] = 0.0, OTHER + 1
    assert blink_truth(lids, still, seen)[4] == unknown
    lids.other[:] = RESTLESS + 1
    assert (blink_truth(lids, still, seen) == unknown).all()


def test_the_usual_look_follows_a_change_and_forgets_a_blink() -> None:
    values = np.zeros((400, 2))
    values[200:] = 5
    values[50:54] = 9
    usual = usual_look(values, np.ones(400, bool))
    assert (usual[:150] == 0).all() and (usual[200 + MEDIAN :] == 5).all()


def test_patches_are_upright_mirrored_and_the_same_from_every_crop() -> None:
    crops, points = run([face(look=0.2)] * 9)
    plain = eye_patches(crops, points).astype(int)
    # looking to the right in the picture: inwards on the left eye, outwards on the right one
    dark = plain.sum(2).argmin(-1)
    assert (dark[:, 0] > 12).all() and (dark[:, 1] < 12).all()
    # the same face in a crop with a margin, or of another size, or with points named one by one
    room = np.pad(crops, ((0, 0), (28, 28), (28, 28), (0, 0)))
    assert np.abs(eye_patches(room, points, margin=0.25).astype(int) - plain).max() <= 2
    large = np.repeat(np.repeat(crops, 3, 1), 3, 2)
    assert np.abs(eye_patches(large, points).astype(int) - plain).mean() < 6
    names = [263, 362, 133, 33]
    np.testing.assert_array_equal(eye_patches(crops, points[:, names], names=names), plain)
    # a face that leans: the picture and its points turned by 20 degrees about the middle
    turned = np.stack([np.asarray(Image.fromarray(c).rotate(20, Image.Resampling.BICUBIC)) for c in crops])
    angle = np.radians(-20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    leaning = eye_patches(turned, (points - 0.5) @ turn.T + 0.5).astype(int)
    assert np.abs(leaning - plain).mean() < 8 < np.abs(eye_patches(turned, points).astype(int) - plain).mean()


def test_gaze_is_told_by_its_side_of_the_picture() -> None:
    looks = [-0.25, -0.1, 0.0, 0.1, 0.25]
    crops, points = run([face(look=look) for look in looks for _ in range(9)])
    found = gaze(np.concatenate([eye_patches(crops[k : k + 9], points[k : k + 9]) for k in range(0, 45, 9)]))[4::9]
    assert (np.diff(found) > 0.03).all() and abs(found[2]) < 0.02 and found[0] < -0.08


def test_brows_are_told_from_a_nod() -> None:
    ticks = np.arange(100)
    raised = (ticks % 20 < 5).astype(float)
    nod = 0.05 * np.sin(ticks / 7)
    # a nod brings the brows nearer to the eyes in the picture
    points = run([face(brow=0.1 + 0.02 * r - 0.3 * n, nod=n) for r, n in zip(raised, nod, strict=True)])[1]
    height = brow_height(points)
    assert height.mean() == pytest.approx((0.1 + 0.005) / 0.45, abs=0.02)
    valid = ticks > 3
    motion = brow_motion(points, valid)
    assert np.isnan(motion[:4]).all()
    assert np.corrcoef(motion[4:], raised[4:])[0, 1] > 0.9 > 0.7 > np.corrcoef(height[4:], raised[4:])[0, 1]
    assert abs(np.corrcoef(motion[4:], nod[4:])[0, 1]) < 0.1
    angle = np.radians(15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(brow_height(points @ turn.T), height, atol=1e-6)


# ticks whose lids are down, and up for certain, as a person sees them
LOOKED_AT = {
    "grid_s1/sgivzn.mp4": ([9, 10, 38, 39, 40, 41, 57, 58], [*range(0, 6), *range(14, 34), *range(46, 54)]),
    "grid_more/s4_7d7d5c31.mp4": ([61, 62, 63], [*range(0, 58)]),
    "talk/fwo_lipnet_plus_7a0fcab0.mp4": ([49, 70, 71], [*range(0, 16), *range(22, 46), *range(53, 67)]),
    "talk/video-retalking_65b359b9.mp4": ([12, 13, 36, 37, 58, 59, 82, 83, 112, 113], [*range(41, 56), *range(62, 80)]),
}


@pytest.mark.parametrize("file", LOOKED_AT)
def test_blinks_of_real_people(data_dir: Path, file: str) -> None:
    if not (data_dir / file).is_file():
        pytest.skip(f"{file} is not here")
    patches, points, valid = [], [], []
    for chunk in FaceTracker(TrackOptions(crop_size=SIZE)).run(iter_ticks(data_dir / file)):
        points.append(geometry.apply(geometry.invert(chunk.transforms), chunk.landmarks))
        patches.append(eye_patches(chunk.crops, points[-1]))
        valid.append(chunk.valid)
    seen = np.concatenate(valid)
    lids = read_lids(np.concatenate(patches), seen)
    down, up = LOOKED_AT[file]
    change = lids.change
    assert change[down].min() > 2.0 and (change[down] > change[up].max()).all()
    assert np.median(change[down]) > CLOSED - 0.3 and np.quantile(change[up], 0.8) < OPEN
    truth = blink_truth(lids, head_pose(np.concatenate(points))[:, 0], seen)
    assert set(truth[down]) <= {1, UNKNOWN} and set(truth[up]) <= {0, UNKNOWN}
    # of a face of 90 pixels no lid is sharp enough to be sure of
    assert (truth[down] == 1).mean() >= (0 if "fwo" in file else 0.5)
