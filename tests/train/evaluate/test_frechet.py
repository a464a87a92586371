"""The Frechet distance against closed forms, and what its features see of a video."""

from types import SimpleNamespace

import numpy as np
import pytest

from train.evaluate.dubbing.frechet import CLIP, face_clips, frame_features, frechet_distance, motion_features

rng = np.random.default_rng(0)


def gaussian(mean, covariance, count=50):
    """[count, D], of exactly this mean and covariance."""
    x = rng.standard_normal((count, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_gaussians_on_common_axes_have_a_closed_form():
    a, b = gaussian([0, 0, 0], np.diag([1, 4, 9])), gaussian([1, 2, 0], np.diag([4, 4, 1]), 80)
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4)  # |mean|^2 + sum of squared differences of deviations


def test_gaussians_on_different_axes_have_a_closed_form():
    first, second = np.array([[3, 1], [1, 2]]), np.array([[1, -0.8], [-0.8, 5]])
    product = first @ second  # a 2 x 2 root has the trace sqrt(tr + 2 sqrt(det))
    trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * trace
    assert frechet_distance(gaussian([0, 0], first), gaussian([0, 0], second)) == pytest.approx(expected)


@pytest.mark.parametrize("count", [5, 300])
def test_a_set_is_no_distance_from_itself_in_any_order_also_with_few_rows(count):
    a = rng.standard_normal((count, 40)).astype(np.float32)
    assert frechet_distance(a, rng.permutation(a)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5) == pytest.approx(40 * 0.25, rel=1e-5)
    assert np.isnan(frechet_distance(a, a[:1]))


def video(ticks=CLIP * 2):
    tokens = {name: rng.standard_normal((ticks, 4)).cumsum(0) for name in ("identity", "prompts", "ambient")}
    return SimpleNamespace(**tokens, valid=np.ones(ticks, bool))


def test_a_stretch_counts_where_the_face_is_seen_throughout():
    tokens = video(CLIP * 3 + 5)
    tokens.valid[CLIP + 2] = False
    first, last = face_clips(tokens)
    joined = np.concatenate([tokens.identity, tokens.prompts, tokens.ambient], 1)
    np.testing.assert_array_equal(first, joined[:CLIP])
    np.testing.assert_array_equal(last, joined[2 * CLIP : 3 * CLIP])
    assert frame_features([first, last]).shape == (2 * CLIP, 12)


def test_motion_knows_the_order_of_frames_and_not_what_stands_still():
    clips = face_clips(video())
    motion = motion_features(clips)
    np.testing.assert_allclose(motion_features([clip + 100 for clip in clips]), motion)
    spread, step = np.split(motion_features([rng.permutation(clip) for clip in clips]) / motion, 2, axis=1)
    np.testing.assert_allclose(spread, 1)
    assert step.mean() > 1.5
    assert not motion_features([np.ones((CLIP, 12))]).any()
