"""Fit on the validation split what `synclip_core.sync.along.evidence` knows of a checkpoint; report on another one.

1. own lag of every clip: 0 where it is trusted, else the lag on which both of its halves agree
2. margin: do the ends of a file vote for lag 0 under another person's sound? Then ticks that know an end do not count
3. nats: log ratio of the densities of contrast, pairs at the own lag against pairs elsewhere, made monotone
4. share: of its nats that a pair counts with, so that the posterior of known lags on cuts is likeliest
5. logit: logistic regression of "right within a frame" on the posterior, the length and the sight of the face
6. answer: the probability from which at most 1 % of the answers are wrong; doubt: beyond what all clips with a lag show
   but one in a hundred (and one at least: a clip whose sound is not its own all along must not set it alone)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from synclip_core.attributes.calibration import calibration_error
from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import FPS, best_lag, mean_curve
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.evidence import (
    REACH,
    WEAK_COST,
    Evidence,
    contrasts,
    counted_band,
    pair_nats,
    size_feature,
)
from synclip_core.sync.along.look import SIZE, TURN
from synclip_core.sync.along.path import Run, find_runs, lag_prior
from synclip_core.sync.along.stretches import doubt_of, match_odds

from ..clips import Clip, read_clips
from ..tables import format_table
from .cuts import cut, foreign_cuts, generator_for
from .measure import NEGATIVE_SHIFT
from .provider import encoder_reach, token_reach
from .seen import Seen, Told, read_seen, seen_cache, tell

LENGTHS = (1, 2, 3, 5)
WRONG = 0.01  # of the answers, at most
KINDS = ("untouched", "shifted", "foreign")
LEAST_DOUBT = float(np.log(200))  # one false "does not follow" in 200, if the evidence is right
_APART = 3  # frames: pairs further than this from the own lag do not belong together
_SHARES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_OTHERS = np.log(0.2)  # prior odds of another voice, as in sync.stretches


@dataclass(frozen=True)
class Trial:
    """A cut. truth: its lag, None under another person's sound; lag: the likeliest; odds: of it, before calibration."""

    file: str
    seconds: int
    kind: str
    truth: int | None
    lag: int
    odds: float
    judged_s: float
    size: float
    turn: float

    @property
    def right(self) -> bool:
        return self.truth is not None and abs(self.lag - self.truth) <= 1

    def features(self) -> list[float]:
        odds = float(np.clip(self.odds, -20, 20))
        return [1.0, odds, float(np.log(max(self.judged_s, 0.04))), size_feature(self.size), self.turn]


def own_lag(told: Told, trusted: bool, margin: int) -> int | None:
    """The clip's own lag in frames; None where its halves do not agree on one."""
    if trusted:
        return 0
    band = _band(told, margin, 15)
    half = len(band) // 2
    lags = [best_lag(mean_curve(part)) for part in (band, band[:half], band[half:])]
    if any(lag is None for lag in lags) or max(abs(lag - lags[0]) for lag in lags) > 1:  # type: ignore[operator]
        return None
    return lags[0]


def _band(told: Told, margin: int, reach: int = REACH) -> np.ndarray:
    return counted_band(told.audio, told.vocal, told.valid, told.speech, margin, reach)


def ends_vote(pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], seed: int) -> float:
    """Share of cuts of 2 s under another person's sound whose best lag is 0 within a frame; chance is 9.7 %."""
    hits = []
    for clip, _ in clips.values():
        for part in foreign_cuts(clip, clips, 2, 3, generator_for(seed, clip.file, "ends")):
            lag = best_lag(mean_curve(_band(tell(pipeline, part), 0, 15)))
            hits.append(lag is not None and abs(lag) <= 1)
    return float(np.mean(hits)) if hits else 0.0


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


WEAK = 0.5  # a face that fits weakly has this much less contrast, of the usual
_KERNEL = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
_KERNEL /= _KERNEL.sum()


def cuts_of(
    pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], lags: Mapping[str, int], seed: int, draws: int
) -> Iterator[tuple[str, int, str, int | None, Told]]:
    """(file, seconds, kind, truth, tokens): untouched cuts (own lag taken off), shifted by 3 to 12 frames, foreign."""
    for clip, seen in clips.values():
        generator = generator_for(seed, clip.file, "evidence")
        many = draws if len(seen) > 100 else max(draws // 3, 1)
        for seconds in LENGTHS:
            if clip.file in lags:
                level = seen.sound(shift_audio(seen.waveform, -lags[clip.file]))
                for turn in range(2 * many):
                    part = cut(level, seconds, generator)
                    if part is None:
                        break
                    truth = draw_shift(generator, MAX_SHIFT, NEGATIVE_SHIFT) if turn % 2 else 0
                    moved = part.sound(shift_audio(part.waveform, truth))
                    yield clip.file, seconds, KINDS[turn % 2], truth, tell(pipeline, moved)
            for part in foreign_cuts(clip, clips, seconds, many, generator):
                yield clip.file, seconds, KINDS[2], None, tell(pipeline, part)


def both_nats(told: Told, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of the usual and of the weak kind, see sync.judge."""
    given = (told.audio, told.vocal, told.valid, told.speech, evidence)
    return pair_nats(*given), pair_nats(*given, weak=True)


def _trial(
    name: str, seconds: int, kind: str, truth: int | None, told: Told, nats: np.ndarray, weak: np.ndarray
) -> Trial:
    best = (0, -np.inf)
    for table, cost in ((nats, 0.0), (weak, WEAK_COST)):
        lag = int(table.sum(0, dtype=np.float64).argmax()) - REACH
        odds = match_odds(table, Run(0, len(table), float(lag))) - cost
        best = max(best, (lag, odds), key=lambda item: item[1])
    seen = told.look[told.valid]
    size, turn = (float(np.nan_to_num(np.nanmedian(seen[:, k]))) if len(seen) else 0.0 for k in (SIZE, TURN))
    return Trial(name, seconds, kind, truth, *best, float(nats.any(1).sum()) / FPS, size, turn)


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


def answer_rows(trials: Sequence[Trial], evidence: Evidence) -> list[dict[str, Any]]:
    """Of each length and kind: answered and right, wrong, and what could be answered at 1 % error."""
    rows = []
    p = probabilities(trials, evidence)
    for seconds in LENGTHS:
        for kind in KINDS:
            here = [(t, v) for t, v in zip(trials, p, strict=True) if t.seconds == seconds and t.kind == kind]
            if not here:
                continue
            told = [v >= evidence.answer for _, v in here]
            right = [t.right for t, _ in here]
            row = {"length": f"{seconds} s", "sound": kind, "cuts": len(here)}
            row["answered and right %"] = _percent([a and r for a, r in zip(told, right, strict=True)])
            row["wrong %"] = _percent([a and not r for a, r in zip(told, right, strict=True)])
            row["called in sync %"] = _percent([a and abs(t.lag) <= 1 for a, (t, _) in zip(told, here, strict=True)])
            rows.append(row)
    return rows


def reliability_rows(trials: Sequence[Trial], evidence: Evidence) -> list[dict[str, Any]]:
    """How often lags of a stated probability are right."""
    p, right = probabilities(trials, evidence), np.array([t.right for t in trials])
    rows: list[dict[str, Any]] = []
    edges = [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0001]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = (p >= low) & (p < high)
        if here.any():
            rows.append(
                {
                    "stated": f"{low:g} to {min(high, 1):g}",
                    "cuts": int(here.sum()),
                    "mean stated %": _percent(p[here]),
                    "right %": _percent(right[here]),
                }
            )
    rows.append({"stated": "calibration error", "cuts": len(p), "right %": round(100 * calibration_error(p, right), 2)})
    return rows


def _percent(values: Any) -> float:
    return round(100 * float(np.mean(values)), 1)


def read_split(pipeline: SyncPipeline, data: Path, split: str, cache: Path | None) -> dict[str, tuple[Clip, Seen]]:
    read = partial(read_seen, pipeline)
    kept = None if cache is None else seen_cache(pipeline, cache)
    found = {}
    for clip in read_clips(data, split)[0]:
        try:
            found[clip.file] = clip, read(clip.path) if kept is None else kept.get(clip.path, read)
        except SyncLipError:
            continue
    return found


def own_lags(pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], margin: int) -> dict[str, int]:
    found = {file: own_lag(tell(pipeline, seen), clip.trusted, margin) for file, (clip, seen) in clips.items()}
    return {file: lag for file, lag in found.items() if lag is not None}


def fit_evidence(
    pipeline: SyncPipeline,
    data: Path,
    split: str = "val",
    report: str = "test",
    *,
    cache: Path | None = None,
    seed: int = 0,
    draws: int = 8,
) -> dict[str, Any]:
    """Returns {"evidence": for the checkpoint, "tables": on `split` and on `report`}. SyncLipError on a test split."""
    if split.startswith("test"):
        raise SyncLipError(f"evidence: split {split!r} is for reporting only; fit on the validation split")
    clips = read_split(pipeline, data, split, cache)
    if len(clips) < 2:
        raise SyncLipError(f"{data}, split {split}: expected at least two clips that can be read")
    vote = ends_vote(pipeline, clips, seed)
    reach = max(*token_reach(pipeline.model.config, pipeline.context), encoder_reach(pipeline.model) or 0)
    margin = reach if vote > 0.16 else 0
    lags = own_lags(pipeline, clips, margin)

    pairs = []
    for file, lag in lags.items():
        values = contrasts(_band(tell(pipeline, clips[file][1]), margin))
        apart = np.abs(np.arange(-REACH, REACH + 1) - lag) > _APART
        mine, others = values[:, REACH + lag], values[:, apart]
        mine, others = mine[np.isfinite(mine)], others[np.isfinite(others)]
        if len(mine) and len(others):
            pairs.append((mine, others))
    contrast, nats, weak = map(tuple, fit_nats(pairs))
    evidence = Evidence(contrast, nats, 1.0, weak, margin)

    cuts = [
        (file, seconds, kind, truth, told, *both_nats(told, evidence))
        for file, seconds, kind, truth, told in cuts_of(pipeline, clips, lags, seed, draws)
    ]
    evidence = replace(evidence, share=_fit_share(cuts))
    share = evidence.share
    trials = [_trial(f, s, k, t, told, share * nats, share * weak) for f, s, k, t, told, nats, weak in cuts]
    evidence = replace(evidence, logit=fit_logit(trials))
    evidence = replace(evidence, answer=fit_answer(trials, probabilities(trials, evidence)))
    doubts = _doubts(pipeline, clips, lags, evidence)
    evidence = replace(evidence, doubt=doubt_limit(list(doubts.values())))
    tables = {
        f"Cuts of {split}": answer_rows(trials, evidence),
        f"Reliability, {split}": reliability_rows(trials, evidence),
    }
    if report:
        shown = report_trials(pipeline, read_split(pipeline, data, report, cache), evidence, seed, draws)
        tables |= {
            f"Cuts of {report}": answer_rows(shown, evidence),
            f"Reliability, {report}": reliability_rows(shown, evidence),
        }
    return {
        "command": "evidence",
        "checkpoint": pipeline.checkpoint.sha256,
        "split": split,
        "seed": seed,
        "draws": draws,
        "clips": {split: len(clips)},
        "with_a_lag": len(lags),
        "ends_vote": round(vote, 3),
        "largest_doubts": {file: round(d, 2) for file, d in sorted(doubts.items(), key=lambda item: -item[1])[:5]},
        "evidence": _rounded(evidence.to_dict()),
        "tables": tables,
    }


def _fit_share(cuts: Sequence[tuple[Any, ...]]) -> float:
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


def _doubts(
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


def report_trials(
    pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], evidence: Evidence, seed: int, draws: int
) -> list[Trial]:
    lags = own_lags(pipeline, clips, evidence.margin)
    return [
        _trial(f, s, k, t, told, *both_nats(told, evidence))
        for f, s, k, t, told in cuts_of(pipeline, clips, lags, seed, draws)
    ]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [round(v, 5) for v in value] if isinstance(value, (tuple, list)) else round(value, 5)
        for name, value in values.items()
    }


def evidence_text(report: dict[str, Any]) -> str:
    """For people."""
    known = report["evidence"]
    lines = [f"{name} = {known[name]}" for name in ("share", "margin", "answer", "doubt", "logit")]
    lines.append(f"clips {report['clips']}, with a lag of their own {report['with_a_lag']}")
    lines.append(f"best lag 0 under foreign sound: {100 * report['ends_vote']:.1f} % (chance 9.7)")
    lines.append(f"largest doubts in clips with a lag: {report['largest_doubts']}")
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
