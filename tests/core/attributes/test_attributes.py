"""Attribute heads: what they compute, over time and over a clip, in words, and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from synclip_core.attributes import head as attributes
from synclip_core.attributes.head import AttributeGroup, AttributeHead, motion_features, uniform_frames
from synclip_core.attributes.head_file import load_head, save_head
from synclip_core.attributes.report import NO_FACE, classify, spans_of
from synclip_core.checkpoint import load_checkpoint
from synclip_core.cli import classify as command
from synclip_core.errors import SyncLipError

TALKS = AttributeGroup("speech", "multi", ("speaking",), (0.6,), "frame")
MOOD = AttributeGroup("emotion", "single", ("calm", "happy", "sad"), (0.0,) * 3, "clip", 2.0)


def head_of(dim: int = 6, seed: int = 0) -> AttributeHead:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(4, dim)).astype(np.float32) * 4
    return AttributeHead(
        (TALKS, MOOD), weight, rng.normal(size=4).astype(np.float32), "abc", "tiny-6", {"seed": 1}, 3.0
    )


def streams(length: int = 50, dim: int = 6, seed: int = 1):
    rng = np.random.default_rng(seed)
    vocal, ambient = rng.normal(size=(2, length, dim)).astype(np.float32)
    valid = np.ones(length, bool)
    valid[10:15] = False
    return vocal / np.linalg.norm(vocal, axis=1, keepdims=True), 9 * ambient, valid


def test_motion_features_weigh_both_streams_alike() -> None:
    vocal, ambient = np.array([[3.0, 4.0], [0, 0]]), np.array([[0.0, 100.0], [0, 0]])
    np.testing.assert_allclose(motion_features(vocal, ambient), [[0.3, 0.9], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(motion_features(vocal, ambient), motion_features(7 * vocal, ambient / 50), atol=1e-6)
    np.testing.assert_allclose(motion_features(vocal, ambient, 4.0), [[0.3, 2.4], [0, 0]], atol=1e-6)


def test_probabilities_follow_their_definition() -> None:
    head = head_of()
    logits = np.array([[0.3, 1.0, 2.0, -1.0], [900.0, -900.0, 0.0, 0.0]], np.float32)
    found = head.probabilities(logits)
    raised = np.exp(np.array([0.5, 1.0, -0.5]))
    np.testing.assert_allclose(found[0, 1:], raised / raised.sum(), rtol=1e-5)
    assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-0.3)))
    np.testing.assert_allclose(found[1], [1, 0, 0.5, 0.5], atol=1e-6)  # no overflow


@pytest.mark.parametrize("count", [1, 7, 16])
def test_frames_are_spread_over_those_with_a_face(count: int) -> None:
    valid = np.ones(100, bool)
    valid[20:60] = False
    chosen = uniform_frames(valid, count)
    assert len(chosen) == count == len(set(chosen)) and valid[chosen].all()
    places = np.searchsorted(np.flatnonzero(valid), chosen)  # among the seen
    assert np.ptp(np.diff(places)) <= 1 if count > 2 else True
    assert places[0] == pytest.approx(59 - places[-1], abs=1)
    np.testing.assert_array_equal(uniform_frames(valid, 0), np.flatnonzero(valid))
    np.testing.assert_array_equal(uniform_frames(valid, 80), np.flatnonzero(valid))


@pytest.mark.parametrize("frames", [0, 16])
def test_a_clip_is_the_mean_of_its_frames_logits(frames: int, monkeypatch) -> None:
    monkeypatch.setattr("synclip_core.attributes.report.BLOCK", 7)  # blocks must not show
    head, (vocal, ambient, valid) = head_of(), streams()
    report = classify(vocal, ambient, valid, head, model="abc", frames=frames)
    chosen = [t for t in range(50) if valid[t]]
    if frames:
        chosen = [chosen[int((k + 0.5) * 45 / 16)] for k in range(16)]
    each = []
    for t in range(50):
        v, a = vocal[t] / np.linalg.norm(vocal[t]), ambient[t] / np.linalg.norm(ambient[t])
        each.append(head.weight @ ((v + 3 * a) / 2) + head.bias)
    mean = np.mean([each[t] for t in chosen], axis=0)
    mood = np.exp(mean[1:] / 2) / np.exp(mean[1:] / 2).sum()
    want = [1 / (1 + np.exp(-mean[0])), *mood]
    np.testing.assert_allclose([label.probability for label in report.labels], want, rtol=1e-4)
    assert [label.label for label in report.labels if label.per == "clip" and label.holds] == [
        MOOD.labels[int(np.argmax(mood))]
    ]
    over_time = 1 / (1 + np.exp(-np.array(each)[:, 0]))
    np.testing.assert_allclose(report.probabilities[valid, 0], over_time[valid], rtol=1e-4)
    assert np.isnan(report.probabilities[~valid]).all()
    assert report.labels[0].share == pytest.approx((over_time[valid] >= 0.6).mean())


def test_spans_share_and_threshold_agree() -> None:
    head, (vocal, ambient, valid) = head_of(), streams()
    strict = classify(vocal, ambient, valid, head, model="abc", threshold=0.95).labels[0]
    usual = classify(vocal, ambient, valid, head, model="abc").labels[0]
    assert strict.share < usual.share and strict.threshold == 0.95 and usual.threshold == 0.6
    for label in (strict, usual):
        assert sum(end - start for start, end in label.spans) * 25 / valid.sum() == pytest.approx(label.share)
    assert spans_of(np.array([1, 1, 0, 1], bool)) == [(0.0, 0.08), (0.12, 0.16)] and spans_of(np.zeros(3, bool)) == []


def test_of_labels_that_exclude_each_other_one_holds_at_any_moment() -> None:
    head, (vocal, ambient, valid) = head_of(), streams()
    report = classify(vocal, ambient, valid, head, model="abc", threshold=0.9)
    assert sum(label.share for label in report.labels[1:]) == pytest.approx(1)


def test_words_say_shares_and_names() -> None:
    head, (vocal, ambient, valid) = head_of(), streams()
    report = classify(vocal, ambient, valid, head, model="abc")
    best = max(report.labels[1:], key=lambda label: label.probability)
    first = f"speaking {100 * report.labels[0].share:.0f} % of the time"
    assert report.words == f"{first}; emotion: {best.label} ({100 * best.probability:.0f} %)"


def test_no_face_and_a_moment_are_said() -> None:
    head, (vocal, ambient, valid) = head_of(), streams()
    nobody = classify(0 * vocal, 0 * ambient, np.zeros(50, bool), head, model="abc")
    assert nobody.words == NO_FACE and not nobody.seen and nobody.labels[0].probability is None
    empty = classify(vocal[:0], ambient[:0], valid[:0], head, model="abc")
    assert empty.words == NO_FACE and empty.duration_s == 0
    moment = classify(vocal[:7], ambient[:7], valid[:7], head, model="abc")
    assert moment.seen and "only 0.3 s with a face" in moment.warnings[0]
    for report in (nobody, empty, moment):
        data = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert [label["label"] for label in data["labels"]] == list(head.labels)


def test_tokens_that_cannot_be_judged_are_refused() -> None:
    head, (vocal, ambient, valid) = head_of(), streams()
    with pytest.raises(SyncLipError, match="trained on tokens of checkpoint abc .*come from checkpoint other"):
        classify(vocal, ambient, valid, head, model="other")
    with pytest.raises(SyncLipError, match=r"width 6\), and these come from checkpoint abc \(width 5\)"):
        classify(vocal[:, :5], ambient[:, :5], valid, head, model="abc")
    with pytest.raises(SyncLipError, match="do not fit"):
        classify(vocal, ambient[1:], valid, head, model="abc")
    with pytest.raises(SyncLipError, match="NaN"):
        classify(vocal * np.nan, ambient, valid, head, model="abc")
    for wrong in ({"frames": -1}, {"threshold": 1.0}):
        with pytest.raises(SyncLipError, match="expected frames >= 0"):
            classify(vocal, ambient, valid, head, model="abc", **wrong)


def test_a_head_comes_back_from_its_file(tmp_path: Path) -> None:
    save_head(tmp_path / "h.safetensors", head_of())
    found = load_head(tmp_path / "h.safetensors")
    assert found.groups == (TALKS, MOOD) and (found.model, found.record) == ("abc", {"seed": 1})
    assert (found.profile, found.ambient_weight) == ("tiny-6", 3.0)
    np.testing.assert_array_equal(found.weight, head_of().weight)
    np.testing.assert_array_equal(found.bias, head_of().bias)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    save_file({"weight": np.ones((1, 2), np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    broken = {
        "nan": replace(head_of(), bias=np.full(4, np.nan, np.float32)),
        "weight": replace(head_of(), ambient_weight=float("inf")),
        "shape": replace(head_of(), bias=np.ones(3, np.float32)),
        "kind": replace(head_of(), groups=(replace(TALKS, kind="both"), MOOD)),
        "thresholds": replace(head_of(), groups=(replace(TALKS, thresholds=()), MOOD)),
        "temperature": replace(head_of(), groups=(TALKS, replace(MOOD, temperature=0.0))),
    }
    for name, head in broken.items():
        save_head(tmp_path / f"{name}.safetensors", head)
    said = {
        "other": "holds no attribute head",
        "text": "not a safetensors file",
        "missing": "no such file",
        "nan": "do not fit",
    }
    said |= {
        "weight": "do not fit",
        "shape": "do not fit",
        "kind": "damaged",
        "thresholds": "damaged",
        "temperature": "damaged",
    }
    for name, words in said.items():
        with pytest.raises(SyncLipError, match=words):
            load_head(tmp_path / f"{name}.safetensors")


def test_the_bundled_head_belongs_to_the_bundled_checkpoint() -> None:
    head, checkpoint = load_head(), load_checkpoint()
    assert head.model == checkpoint.sha256 and head.weight.shape[1] == checkpoint.model.config.dim
    assert {group.per for group in head.groups} == {"frame"} and "speaking" in head.labels


def test_the_command_offers_what_the_library_knows() -> None:
    assert command.FRAMES == attributes_frames()


def attributes_frames() -> tuple[int, ...]:
    from synclip_core.attributes.report import FRAMES

    return FRAMES


def test_memory_does_not_grow_with_the_temporaries() -> None:
    """An hour: what is allocated at once stays near the input and the output, not several copies of the features."""
    import tracemalloc

    length, dim = 90_000, 32
    vocal = np.ones((length, dim), np.float32)
    head = replace(head_of(dim), weight=np.ones((4, dim), np.float32))
    tracemalloc.start()
    classify(vocal, vocal, np.ones(length, bool), head, model="abc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert attributes.BLOCK < length and peak < 1.5 * vocal.nbytes
