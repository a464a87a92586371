"""R-precision and in-sync detection against closed forms and naive loops."""

import numpy as np
import pytest

from synclip_core.metrics.in_sync import auc, best_threshold, confusion
from synclip_core.metrics.r_precision import RPrecision, draw_distinct, mixed, same_clip


def unit(generator: np.random.Generator, frames: int, width: int = 16) -> np.ndarray:
    x = generator.standard_normal((frames, width)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_draws_are_distinct_and_even() -> None:
    drawn = draw_distinct(np.full(20000, 6), 3, np.random.default_rng(0))
    assert (np.diff(drawn, axis=1) > 0).all() and drawn.min() == 0 and drawn.max() == 5
    codes, counts = np.unique(drawn @ [36, 6, 1], return_counts=True)
    assert len(codes) == 20  # every subset of three, equally often
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert draw_distinct(np.array([3, 4]), 3, np.random.default_rng(0))[0].tolist() == [0, 1, 2]


def test_chance_levels_of_both_pools() -> None:
    generator = np.random.default_rng(1)
    clips = [(unit(generator, 200), unit(generator, 200), None) for _ in range(30)]
    pooled = sum(mixed(clips, generator), RPrecision())
    alone = sum((same_clip(a, v, generator) for a, v, _ in clips), RPrecision())
    for result in (pooled, alone):
        assert result.queries == 6000 and result.skipped == 0
        for k in (1, 2, 3):
            p = k / 32
            assert result.top(k) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 6000))


def test_perfect_tokens_rank_first_and_constant_tokens_at_chance() -> None:
    generator = np.random.default_rng(2)
    tokens = unit(generator, 150, 64)
    assert same_clip(tokens, tokens, generator).top(1) == 1
    assert [r.top(1) for r in mixed([(tokens, tokens, None), (tokens[::-1], tokens[::-1], None)], generator)] != [0, 0]
    constant = np.ones((3000, 4), np.float32)
    for result in (same_clip(constant, constant, generator), mixed([(constant, constant, None)], generator)[0]):
        assert result.top(1) == pytest.approx(1 / 32, abs=4 * np.sqrt(0.03 / 3000))


def naive_rank(a: np.ndarray, v: np.ndarray, own: int, others: list[int]) -> int:
    return 1 + sum(a @ v[j] > a @ v[own] for j in others)


def test_same_clip_with_every_other_frame_equals_naive_ranking() -> None:
    """A pool as large as most frames' candidates leaves them nothing to the draw: hits must equal a plain loop's."""
    generator = np.random.default_rng(3)
    vocal = unit(generator, 60)
    audio = vocal + 1.5 * unit(generator, 60)
    valid = np.arange(60) != 20
    others = [[j for j in range(60) if valid[j] and abs(j - i) >= 3] for i in range(60)]
    size = min(len(o) for i, o in enumerate(others) if valid[i])
    exact = [i for i in range(60) if valid[i] and len(others[i]) == size]
    loose = 59 - len(exact)  # near an edge or the gap: more candidates than the pool takes
    assert loose == 8
    ranks = [naive_rank(audio[i], vocal, i, others[i]) for i in exact]
    result = same_clip(audio, vocal, generator, valid, pool=size + 1)
    assert result.queries == 59 and result.skipped == 0
    for k in (1, 2, 3):
        naive = sum(r <= k for r in ranks)
        assert naive <= result.hits[k - 1] <= naive + loose
    assert loose < sum(r <= 1 for r in ranks) < len(exact) - loose


def test_same_clip_never_draws_neighbours() -> None:
    """Neighbours within two frames are copies of the own token: were they drawn, ties would cost rank 1."""
    generator = np.random.default_rng(4)
    base = unit(generator, 40, 64)
    tokens = np.repeat(base, 3, axis=0)
    result = same_clip(tokens[1::3].repeat(3, axis=0), tokens, generator, pool=32)
    assert result.top(1) == 1
    assert same_clip(tokens, tokens, generator, pool=32, min_gap=1).top(1) != 1


def test_mixed_pool_of_everything_equals_naive_ranking() -> None:
    generator = np.random.default_rng(5)
    clips = []
    for frames in (20, 15):
        vocal = unit(generator, frames)
        clips.append((vocal + 1.5 * unit(generator, frames), vocal, generator.random(frames) > 0.2))
    bank = np.concatenate([v[m] for _, v, m in clips])
    queries = np.concatenate([a[m] for a, _, m in clips])
    ranks = [naive_rank(q, bank, i, [j for j in range(len(bank)) if j != i]) for i, q in enumerate(queries)]
    results = mixed(clips, generator, pool=len(bank))
    split = int(clips[0][2].sum())
    for result, part in zip(results, (ranks[:split], ranks[split:]), strict=True):
        assert result.hits == tuple(sum(r <= k for r in part) for k in (1, 2, 3))
    assert 0 < results[0].hits[0] < split


def test_too_short_for_a_pool_is_skipped_and_counted() -> None:
    tokens = unit(np.random.default_rng(0), 34)
    result = same_clip(tokens, tokens, np.random.default_rng(0))
    assert (result.queries, result.skipped, result.top(1)) == (2, 32, 1.0)  # only the two end frames have 31 others
    assert mixed([(tokens[:20], tokens[:20], None)], np.random.default_rng(0))[0] == RPrecision(skipped=20)
    assert same_clip(tokens, tokens, np.random.default_rng(0), np.zeros(34, bool)).top(1) is None


def test_one_seed_one_result() -> None:
    generator = np.random.default_rng(6)
    audio, vocal = unit(generator, 90), unit(generator, 90)
    first = same_clip(audio, vocal, np.random.default_rng(3))
    assert first == same_clip(audio, vocal, np.random.default_rng(3))
    assert any(first != same_clip(audio, vocal, np.random.default_rng(s)) for s in range(4, 10))


def test_auc_equals_pair_counting() -> None:
    generator = np.random.default_rng(0)
    positives, negatives = generator.integers(0, 8, 40) + 1.0, generator.integers(0, 8, 30) * 1.0
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    assert auc(positives, negatives) == pytest.approx(np.mean(pairs))
    assert auc([1.0, np.nan], [0.0]) == 0.5  # a clip too short for a score ranks below all
    assert auc([], [1.0]) is None


def test_confusion_and_balanced_accuracy() -> None:
    result = confusion([0.9, 0.2, np.nan], [0.1, 0.5, 0.0, 0.0], 0.5)
    assert (result.true_positive, result.false_negative, result.true_negative, result.false_positive) == (1, 2, 3, 1)
    assert result.accuracy == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert confusion([1.0], [], 0.5).accuracy is None


def test_best_threshold_is_no_worse_than_any_other() -> None:
    generator = np.random.default_rng(1)
    positives, negatives = generator.normal(1, 1, 60), generator.normal(0, 1, 90)
    best = confusion(positives, negatives, best_threshold(positives, negatives)).accuracy
    for threshold in np.linspace(-3, 4, 300):
        accuracy = confusion(positives, negatives, threshold).accuracy
        assert accuracy is not None and best is not None and accuracy <= best + 1e-12
    assert best_threshold([2.0, 3.0], [0.0, 1.0]) == 1.5
    with pytest.raises(ValueError, match="needs scores"):
        best_threshold([], [1.0])
