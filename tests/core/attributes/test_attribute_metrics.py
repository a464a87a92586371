"""Figures of classifiers against brute force and closed forms."""

import itertools

import numpy as np
import pytest

from synclip_core.attributes.calibration import calibration_error, fit_temperature
from synclip_core.metrics.classification import auc, balanced_accuracy, best_threshold, confusion, macro_auc, matthews


@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.3  # with ties
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(scores[truth], scores[~truth])]
    assert auc(scores, truth) == pytest.approx(np.mean(pairs))


def test_auc_needs_both_sides() -> None:
    assert auc(np.ones(3), np.ones(3, bool)) is None
    assert macro_auc(np.eye(3), np.zeros((3, 3), bool)) is None
    scores = np.array([[0.9, 0.1], [0.2, 0.7], [0.4, 0.3]])
    truth = np.array([[1, 0], [0, 0], [0, 0]], bool)  # the second label never occurs and does not count
    assert macro_auc(scores, truth) == 1.0


def test_thresholded_figures_follow_their_definition() -> None:
    said, truth = np.array([1, 1, 0, 0, 1, 0], bool), np.array([1, 0, 0, 0, 1, 1], bool)
    assert balanced_accuracy(said, truth) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert matthews(said, truth) == pytest.approx((2 * 2 - 1 * 1) / np.sqrt(3 * 3 * 3 * 3))
    assert matthews(np.ones(6, bool), truth) == 0 and balanced_accuracy(said, np.ones(6, bool)) is None
    np.testing.assert_array_equal(confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3), np.diag([1, 1, 1]) + [
        [0, 0, 0], [0, 0, 0], [0, 1, 0]])  # fmt: skip


def test_the_threshold_parts_what_can_be_parted() -> None:
    p = np.array([0.05, 0.1, 0.3, 0.7, 0.8])
    assert 0.3 < best_threshold(p, np.array([0, 0, 0, 1, 1], bool)) <= 0.7


def test_calibration_error_of_known_cases() -> None:
    assert calibration_error(np.full(10, 0.75), np.arange(10) < 5) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 1.0, 0.0]), np.array([1, 1, 0], bool)) == 0
    # two bins: 0.9 of which all are right, 0.5 of which none are
    confidence, right = np.array([0.9, 0.9, 0.5, 0.5]), np.array([1, 1, 0, 0], bool)
    assert calibration_error(confidence, right) == pytest.approx((0.1 + 0.5) / 2)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_temperature_finds_how_much_the_logits_were_blown_up(kind: str) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(20_000, 3)) * 2
    if kind == "single":
        p = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
        truth = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    else:
        truth = rng.random(honest.shape) < 1 / (1 + np.exp(-honest))
    assert fit_temperature(3 * honest, truth, kind) == pytest.approx(3, rel=0.05)
    assert fit_temperature(honest, truth, kind) == pytest.approx(1, rel=0.05)
