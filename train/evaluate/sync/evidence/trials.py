"""Cuts whose lag is known, and how likely the evidence makes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import FPS, best_lag, mean_curve
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.evidence import REACH, WEAK_COST, Evidence, counted_band, pair_nats, size_feature
from synclip_core.sync.along.look import SIZE, TURN
from synclip_core.sync.along.path import Run
from synclip_core.sync.along.stretches import match_odds

from ...clips import Clip, read_clips
from ..cuts import cut, foreign_cuts, generator_for
from ..measure import NEGATIVE_SHIFT
from ..seen import Seen, Told, read_seen, seen_cache, tell

LENGTHS = (1, 2, 3, 5)
KINDS = ("untouched", "shifted", "foreign")


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


def own_lag(told: Told, trusted: bool, margin: int) -> int | None:
    """The clip's own lag in frames; None where its halves do not agree on one."""
    if trusted:
        return 0
    band = judged_band(told, margin, 15)
    half = len(band) // 2
    lags = [best_lag(mean_curve(part)) for part in (band, band[:half], band[half:])]
    if any(lag is None for lag in lags) or max(abs(lag - lags[0]) for lag in lags) > 1:  # type: ignore[operator]
        return None
    return lags[0]


def own_lags(pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], margin: int) -> dict[str, int]:
    found = {file: own_lag(tell(pipeline, seen), clip.trusted, margin) for file, (clip, seen) in clips.items()}
    return {file: lag for file, lag in found.items() if lag is not None}


def judged_band(told: Told, margin: int, reach: int = REACH) -> np.ndarray:
    return counted_band(told.audio, told.vocal, told.valid, told.speech, margin, reach)


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


def trial_of(
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


def report_trials(
    pipeline: SyncPipeline, clips: Mapping[str, tuple[Clip, Seen]], evidence: Evidence, seed: int, draws: int
) -> list[Trial]:
    """Of another split, with what was fitted."""
    lags = own_lags(pipeline, clips, evidence.margin)
    return [
        trial_of(f, s, k, t, told, *both_nats(told, evidence))
        for f, s, k, t, told in cuts_of(pipeline, clips, lags, seed, draws)
    ]
