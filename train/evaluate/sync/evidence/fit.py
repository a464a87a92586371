"""The parts of the evidence, each fitted on what the parts before it leave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from synclip_core.metrics.distance import best_lag, mean_curve
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.evidence import REACH, Evidence, contrasts
from synclip_core.sync.along.path import find_runs, lag_prior
from synclip_core.sync.along.stretches import doubt_of, match_odds

from ...clips import Clip
from ..cuts import foreign_cuts, generator_for
from ..seen import Seen, tell
from .trials import KINDS, Trial, both_nats, judged_band

WRONG = 0.01  # of the answers, at most
LEAST_DOUBT = float(np.log(200))  # one false "does not follow" in 200, if the evidence is right
WEAK = 0.5  # a face that fits weakly has this much less contrast, of the usual
_APART = 3  # frames: pairs further than this from the own lag do not belong together
_SHARES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_OTHERS = np.log(0.2)  # prior odds of another voice, as in sync.stretches
_KERNEL = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
_KERNEL /= _KERNEL.sum()


def ends_vote(pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], seed: int) -> float:
    """Share of cuts of 2 s under another person's sound whose best lag is 0 within a frame; chance is 9.7 %."""
    hits = []
    for clip, _ in clips.values():
        for part in foreign_cuts(clip, clips, 2, 3, generator_for(seed, clip.file, "ends")):
            lag = best_lag(mean_curve(judged_band(tell(pipeline, part), 0, 15)))
            hits.append(lag is not None and abs(lag) <= 1)
    return float(np.mean(hits)) if hits else 0.0


def pairs_of(
    pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], lags: Mapping[str, int], margin: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each clip with a lag: contrasts of pairs that belong together, and of others."""
    pairs = []
    for file, lag in lags.items():
        values = contrasts(judged_band(tell(pipeline, clips[file][1]), margin))
        apart = np.abs(np.arange(-REACH, REACH + 1) - lag) > _APART
        mine, others = values[:, REACH + lag], values[:, apart]
        mine, others = mine[np.isfinite(mine)], others[np.isfinite(others)]
        if len(mine) and len(others):
            pairs.append((mine, others))
    return pairs


def fit_nats(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots (contrast, nats, weak) from (contrasts of pairs that belong together, of others) of each clip; a clip of
    ten seconds and more weighs as ten."""
    both = np.concatenate([np.concatenate(pair) for pair in pairs])
    low, high = np.quantile(both, [0.0001, 0.9999])
    edges = np.linspace(low, high, 81)
    middle = (edges[1:] + edges[:-1]) / 2

    def density(values: Sequence[np.ndarray]) -> np.ndarray:
        total = np.zeros(80)
        for own, pair in zip(values, pairs, strict=True):
            total += np.histogram(own, edges)[0] / len(own) * min(len(pair[0]), 250)
        return np.convolve(total / total.sum(), _KERNEL, "same") + 1e-4

    others = density([pair[1] for pair in pairs])
    usual = np.mean([pair[0].mean() for pair in pairs])
    nats = np.log(density([pair[0] for pair in pairs]) / others)
    weak = np.log(density([pair[0] - WEAK * usual for pair in pairs]) / others)
    first = int(nats.argmin())
    keep = np.unique(np.linspace(first, int(nats.argmax()), 24).round().astype(int))
    return middle[keep], _rising(nats)[keep], _rising(weak)[keep]


def _rising(nats: np.ndarray) -> np.ndarray:
    """Monotone: the least value to the left of its place, then never falling."""
    low = int(nats[: len(nats) // 2 + 10].argmin())
    return np.maximum.accumulate(np.where(np.arange(len(nats)) < low, nats[low], nats))


def fit_share(cuts: Sequence[tuple[Any, ...]]) -> float:
    """Of the nats that a pair counts with: the one under which the known lags of the cuts are likeliest."""
    prior, sums = lag_prior(REACH), [(truth, nats.sum(0, dtype=np.float64)) for *_, truth, _told, nats, _weak in cuts]
    loss = []
    for share in _SHARES:
        total = 0.0
        for truth, values in sums:
            scores = share * values + prior
            whole = np.logaddexp(np.logaddexp.reduce(scores), _OTHERS)
            if truth is None:
                total += _OTHERS - whole
            else:
                total += float(np.logaddexp.reduce(scores[REACH + truth - 1 : REACH + truth + 2])) - whole
        loss.append(-total)
    return _SHARES[int(np.argmin(loss))]


def _weights(trials: Sequence[Trial]) -> np.ndarray:
    """Kinds and lengths weigh alike."""
    groups: dict[tuple[str, int], int] = {}
    for t in trials:
        groups[t.kind, t.seconds] = groups.get((t.kind, t.seconds), 0) + 1
    return np.array([1 / groups[t.kind, t.seconds] for t in trials])


def fit_logit(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Weights of the calibrated probability: logistic regression, lightly held to (0, 1, 0, 0, 0)."""
    x = np.array([t.features() for t in trials])
    y = np.array([t.right for t in trials], float)
    w = _weights(trials)
    w = w / w.sum() * len(w)
    usual = np.array([0.0, 1, 0, 0, 0])

    def loss(v: np.ndarray) -> float:
        z = x @ v
        return float((w * (np.logaddexp(0, z) - y * z)).sum() + 2.0 * ((v - usual) ** 2).sum())

    return tuple(float(v) for v in minimize(loss, usual).x)


def fit_answer(trials: Sequence[Trial], probability: np.ndarray) -> float:
    """The least probability from which at most WRONG of all trials of each kind, and foreign sound in sync, go
    wrong."""
    for limit in np.concatenate([np.arange(0.5, 0.99, 0.01), [0.99, 0.992, 0.995, 0.997, 0.999]]):
        told = probability >= limit
        wrong = [
            np.mean([ok and not t.right for t, ok in zip(trials, told, strict=True) if t.kind == kind] or [0])
            for kind in KINDS
        ]
        if max(wrong) <= WRONG:
            return float(limit)
    return 0.999


def probabilities(trials: Sequence[Trial], evidence: Evidence) -> np.ndarray:
    return np.array([evidence.probability(t.odds, t.judged_s, t.size, t.turn) for t in trials])


def doubts_of(
    pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], lags: Mapping[str, int], evidence: Evidence
) -> dict[str, float]:
    """The largest doubt of a stretch that the path takes for one without a lag, 0 where it takes none so, of every clip
    that has one, by the table that the judge would take for the clip."""
    found = {}
    for file in lags:
        for nats in both_nats(tell(pipeline, clips[file][1]), evidence):
            runs = find_runs(nats)
            if any(run.lag is not None and match_odds(nats, run) > 3 for run in runs):
                break
        found[file] = max((doubt_of(nats, run.start, run.end) for run in runs if run.lag is None), default=0.0)
    return found


def doubt_limit(doubts: Sequence[float]) -> float:
    """A nat beyond the largest doubts of clips with a lag, without the largest hundredth of them, one clip at least: in
    a clip of the wild another voice may speak for a while, and then its doubt is right. Never under LEAST_DOUBT."""
    left_out = max(1, round(WRONG * len(doubts)))
    kept = sorted(doubts)[:-left_out]
    return max(LEAST_DOUBT, kept[-1] + 1.0 if kept else 0.0)
