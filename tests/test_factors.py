"""What a token tells is found where it was put, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from train.attributes.features import Features
from train.evaluation.clips import SEEN, WEB_REAL, Clip
from train.evaluation.factors_report import asked, r2, ridge, same_person


def face(person: int, seed: int, ticks: int = 120) -> Features:
    """Identity is the person, vocal the mouth's opening and nothing of the head, ambient the head's turn."""
    rng = np.random.default_rng(seed)
    gap, turn = rng.random(ticks), rng.uniform(-0.3, 0.3, ticks)
    points = np.zeros((ticks, 468, 2), np.float32)
    points[:, 33], points[:, 263] = (0.2, 0.4), (0.8, 0.4)
    points[:, 78], points[:, 308] = (0.35, 0.8), (0.65, 0.8)
    points[:, 13], points[:, 14] = (0.5, 0.8), np.stack([np.full(ticks, 0.5), 0.8 + 0.3 * gap], 1)
    points[:, 1] = np.stack([0.5 + 0.6 * turn, rng.normal(0.6, 0.01, ticks)], 1)
    noise = rng.normal(0, 0.01, (3, ticks, 4)).astype(np.float32)
    noise[0, :, person % 4] += 1
    noise[1, :, 0] += gap
    noise[2, :, 0] += turn
    return Features(
        identity=noise[0],
        vocal=noise[1],
        ambient=noise[2],
        valid=np.arange(ticks) > 2,
        pixels=np.zeros((ticks, 256), np.uint8),
        points=points,
        roll=rng.normal(0, 0.1, ticks).astype(np.float32),
        speech=gap > 0.5,
        model="",
    )


def test_factors_are_found_where_they_are() -> None:
    fit, judged = [face(k, k) for k in range(6)], [face(k, 50 + k) for k in range(4)]
    vocal, ambient, identity = (asked(token, fit, judged) for token in ("vocal", "ambient", "identity"))
    assert vocal["mouth opening"] > 0.95 and vocal["(opening motion)"] > 0.95 and vocal["speech"] > 0.95
    assert ambient["head turn"] > 0.95 and abs(ambient["mouth opening"]) < 0.1 and abs(ambient["speech"] - 0.5) < 0.1
    assert all(abs(identity[name]) < 0.1 for name in ("mouth opening", "head turn", "head height", "head roll"))
    assert abs(vocal["head turn"]) < 0.1


def test_people_are_told_apart_by_what_holds_them() -> None:
    people = [0, 0, 1, 1, 2, 2]
    clips = [Clip(f"{k}.mp4", Path(), WEB_REAL, f"p{person}") for k, person in enumerate(people)]
    features = [face(person, k) for k, person in enumerate(people)]
    assert same_person("identity", features, clips)["same person"] == 1.0
    assert same_person("ambient", features, clips)["same person"] < 0.9
    # clips of the seen speaker's one session are no proof
    seen = [Clip(f"g{k}.mp4", Path(), SEEN, "s1") for k in range(3)]
    assert same_person("identity", features[:3], seen)["same person"] is None


def test_ridge_and_r2_are_what_they_are_called() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    weights = np.array([[1.0, 2.0], [0.0, -1.0], [0.5, 0.0]])
    np.testing.assert_allclose(ridge(x, x @ weights, 1e-9), weights, atol=1e-7)
    assert np.abs(ridge(x, x @ weights, 1e6)).max() < 1e-3
    truth = np.array([1.0, 2.0, 3.0])
    assert r2(truth, truth) == 1 and r2(np.full(3, 2.0), truth) == 0 and r2(truth[::-1], truth) == pytest.approx(-3)
