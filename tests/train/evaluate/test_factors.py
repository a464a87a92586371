"""What a token tells is found where it was put, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from train.attributes.eyes import CLOSED, read_lids
from train.attributes.features import Features
from train.evaluate.clips import SEEN, WEB_REAL, Clip
from train.evaluate.factors_report import asked, between, blinks, same_person, targets, token_names
from train.evaluate.ridge import Ridge, r2, ridge


def face(person: int, seed: int, ticks: int = 240) -> Features:
    """Identity is the person, vocal the mouth's opening and nothing of the head, ambient the head's turn, the brows and
    the lids. Lids are down in one tick of eight, for three at a time."""
    rng = np.random.default_rng(seed)
    down = np.repeat(rng.random(ticks // 3) < 0.12, 3)
    gap, turn = rng.random(ticks), rng.uniform(-0.16, 0.16, ticks)
    points = np.zeros((ticks, 468, 2), np.float32)
    points[:, 33], points[:, 263] = (0.2, 0.4), (0.8, 0.4)
    points[:, 78], points[:, 308] = (0.35, 0.8), (0.65, 0.8)
    points[:, 13], points[:, 14] = (0.5, 0.8), np.stack([np.full(ticks, 0.5), 0.8 + 0.3 * gap], 1)
    points[:, 1] = np.stack([0.5 + 0.6 * turn, rng.normal(0.6, 0.01, ticks)], 1)
    raised = rng.normal(0, 0.02, ticks)
    points[:, [70, 63, 105, 66, 107, 300, 293, 334, 296, 336]] = np.stack([np.full(ticks, 0.5), 0.3 - raised], 1)[
        :, None
    ]
    noise = rng.normal(0, 0.01, (3, ticks, 6)).astype(np.float32)
    noise[0, :, person % 4] += 1
    noise[1, :, 0] += gap
    noise[2, :, 0] += turn
    noise[2, :, 1] += raised
    noise[2, :, 2] += down
    return Features(
        identity=noise[0],
        vocal=noise[1],
        single=noise[1],
        ambient=noise[2],
        valid=np.arange(ticks) > 2,
        pixels=np.zeros((ticks, 256), np.uint8),
        points=points,
        eyes=eyes(down, rng),
        roll=rng.normal(0, 0.1, ticks).astype(np.float32),
        speech=gap > 0.5,
        model="",
    )


def eyes(down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Patches of open eyes and of closed ones, with some noise."""
    y, x = np.mgrid[:14, :24]
    pupil = ((x - 11.5) ** 2 + (y - 6) ** 2 < 16)[None, None]
    lashes = ((np.abs(y - 9) < 1.5) & (np.abs(x - 11) < 9))[None, None]
    dark = np.where(down[:, None, None, None], lashes, pupil)
    return (150 - 110 * dark + rng.normal(0, 3, (len(down), 2, 14, 24))).astype(np.uint8)


def test_factors_are_found_where_they_are() -> None:
    fit, judged = [face(k, k) for k in range(6)], [face(k, 50 + k) for k in range(4)]
    vocal, ambient, identity = (asked(token, fit, judged) for token in ("vocal", "ambient", "identity"))
    assert vocal["mouth opening"] > 0.95 and vocal["(opening motion)"] > 0.95 and vocal["speech"] > 0.95
    assert ambient["head turn"] > 0.95 and abs(ambient["mouth opening"]) < 0.1 and abs(ambient["speech"] - 0.5) < 0.1
    assert all(abs(identity[name]) < 0.1 for name in ("mouth opening", "head turn", "head height", "head roll"))
    assert abs(vocal["head turn"]) < 0.1
    assert ambient["blink"] > 0.98 and ambient["(brow motion)"] > 0.6
    for other in (vocal, identity):
        assert other["blink"] == pytest.approx(0.5, abs=0.1) and abs(other["(brow motion)"]) < 0.1


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


def test_the_rows_for_comparison_know_what_they_are_made_of() -> None:
    fit, judged = [face(k, k) for k in range(6)], [face(k, 50 + k) for k in range(4)]
    for part in (*fit, *judged):
        part.pixels[:, 0] = 200 * (part.ambient[:, 2] > 0.5)
    pose, picture = asked("pose", fit, judged), asked("pixels", fit, judged)
    assert pose["mouth opening"] > 0.99 < pose["(turn motion)"] and pose["blink"] == pytest.approx(0.5, abs=0.1)
    assert picture["blink"] > 0.98 and abs(picture["mouth opening"]) < 0.1


def test_motion_is_asked_of_motion_alone() -> None:
    """A token that holds the mouth's motion beside an offset of each clip's own tells all of it within a clip."""
    fit, judged = [face(k, k) for k in range(6)], [face(k, 50 + k) for k in range(4)]
    for k, part in enumerate((*fit, *judged)):
        part.vocal[:] += 5 * np.random.default_rng(k).normal(size=6).astype(np.float32)
    row = asked("vocal", fit, judged)
    assert row["(opening motion)"] > 0.95 > 0.5 > row["mouth opening"]


def test_blinks_are_the_ticks_whose_lids_are_down() -> None:
    found = face(0, 3)
    down = found.ambient[:, 2] > 0.5
    np.testing.assert_array_equal(blinks(found) == 1, down & found.valid)
    assert (read_lids(found.eyes, found.valid).change[down] > CLOSED).all() and (blinks(found)[:3] == -1).all()
    known = targets(found)
    assert np.isnan(known["gaze motion"][down]).all() and np.isnan(known["blink"][:3]).all()


def test_what_one_token_tells_of_another() -> None:
    fit, judged = [face(k, k) for k in range(6)], [face(k, 50 + k) for k in range(4)]
    for part in (*fit, *judged):  # ambient tells all of identity's motion, a half of the variance of vocal
        part.identity[:] = part.ambient[:, ::-1] * 2 + 1
        part.vocal[:, 3:] = 0
        part.vocal[:, 1] = 0.0
        part.vocal[:, 2] = part.ambient[:, 2] * part.vocal[:, 0].std() / part.ambient[:, 2].std()
    rows = {(r["from"], r["to"]): r for r in between(fit, judged, token_names(judged))}
    assert set(rows) == {
        (a, b) for a in ("identity", "vocal", "ambient") for b in ("identity", "vocal", "ambient") if a != b
    }
    assert rows["ambient", "identity"]["R2"] > 0.99 < rows["identity", "ambient"]["R2"] + 0.01
    assert rows["ambient", "vocal"]["R2"] == pytest.approx(0.5, abs=0.1)
    assert rows["ambient", "vocal"]["R2 within clips"] == pytest.approx(0.5, abs=0.1)


def test_two_kinds_of_vocal_tokens_are_two_rows() -> None:
    fit, judged = [face(k, k) for k in range(3)], [face(k, 50 + k) for k in range(3)]
    assert token_names(judged) == {"identity": "identity", "vocal": "vocal", "ambient": "ambient"}
    fit, judged = ([replace(part, single=0.5 * part.vocal + 0.1) for part in parts] for parts in (fit, judged))
    names = token_names(judged)
    assert names == {"identity": "identity", "single": "vocal", "vocal": "vocal, context", "ambient": "ambient"}
    pairs = {(r["from"], r["to"]) for r in between(fit, judged, names)}
    assert ("vocal", "vocal, context") not in pairs and ("ambient", "vocal, context") in pairs and len(pairs) == 10


def test_ridge_centres_and_scales_by_itself() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(5, 100, (200, 3))
    y = x @ [[0.1], [2.0], [-1.0]] + 7
    np.testing.assert_allclose(Ridge.fit(x, y, 1e-6)(x), y, atol=1e-3)
    truth = np.array([[1.0, 10.0], [3.0, -10.0]])
    assert r2(truth + [[1, 0], [1, 0]], truth) == pytest.approx(1 - 2 / 202)  # a dimension weighs by its variance
