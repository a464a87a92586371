"""What is measured on one clip, for each kind of tokens. Audio is shifted as samples, its tokens made anew."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import LENGTHS_S, MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import best_lag, curve_confidence, distance_band, mean_curve
from synclip_core.metrics.lse import LipSyncError, lip_sync_error
from synclip_core.metrics.r_precision import RPrecision, same_clip
from synclip_core.metrics.window_lag import WindowLag, window_lag
from synclip_core.sync.measure import SyncResult, in_sync_score, measure_sync, refine_lag
from synclip_core.sync.verdict import SyncThresholds

from ..clips import Clip
from .cuts import cut, generator_for
from .provider import ClipParts, TokenProvider
from .tokens import Tokens, watched, with_audio

Made = TypeVar("Made")
WHOLE = "whole"
LITTLE_SPEECH = 0.35  # a clip with speech in a smaller share of its ticks is reported as "little speech"
NEGATIVE_SHIFT = 3  # smallest shift that counts as out of sync (evaluation.md: 3 to 12 frames)


@dataclass(frozen=True)
class Reading:
    """One curve: its argmin (None: too short), the argmin with speech weighting, the parabola's minimum, confidence,
    scores, and how many lags have enough pairs to be found.
    """

    lag: int | None
    weighted_lag: int | None
    refined_lag: float | None
    confidence: float
    score: float
    similarity: float
    candidates: int = 31


class Readings(NamedTuple):
    """Without and with the ticks that know an end."""

    inside: Reading
    ends: Reading


@dataclass(frozen=True)
class ShiftTrial:
    """A cut of `length` ("3 s", "whole") whose audio moved by `shift` frames; own: the same cut untouched. verdict and
    own_verdict: what a user is told, with the lag told."""

    length: str
    shift: float
    own: Readings
    found: Readings
    verdict: tuple[str, int | None] = ("", None)
    own_verdict: tuple[str, int | None] = ("", None)


@dataclass
class ClipMeasure:
    """Of one clip and one view. windows: by ends, then "all", "speech", "little speech" (by the window's centre), then
    K; same_clip and lse by ends."""

    clip: Clip
    tokens: Tokens
    untouched: Readings
    windows: dict[bool, dict[str, dict[int, WindowLag]]]
    same_clip: dict[bool, RPrecision]
    lse: dict[bool, LipSyncError]
    trials: list[ShiftTrial] = field(default_factory=list)
    subframe: list[ShiftTrial] = field(default_factory=list)
    negatives: list[Readings] = field(default_factory=list)
    verdicts: list[tuple[str, str]] = field(default_factory=list)  # (case, verdict)

    @property
    def part(self) -> str:
        return "speech" if self.tokens.speech.mean() >= LITTLE_SPEECH else "little speech"


def read_curve(tokens: Tokens, ends: bool) -> Reading:
    """The lag by evaluation.md's definition, and its alternatives beside it."""
    heard, seen = tokens.counted(ends)
    band = distance_band(tokens.audio, tokens.vocal, valid=seen, heard=heard)
    curve = mean_curve(band)
    near = np.convolve(tokens.speech, np.ones(11), mode="full")[5 : 5 + len(tokens.speech)] > 0.5  # and 0.2 s around it
    return Reading(
        best_lag(curve),
        best_lag(mean_curve(band, near.astype(np.float64))),
        refine_lag(curve),
        float(curve_confidence(curve)),
        in_sync_score(curve),
        1 - float(curve[len(curve) // 2]),
        int(np.isfinite(curve).sum()),
    )


def read_both(tokens: Tokens) -> Readings:
    return Readings(read_curve(tokens, False), read_curve(tokens, True))


def judge(tokens: Tokens, thresholds: SyncThresholds) -> SyncResult:
    """What a user is told of these ticks."""
    return measure_sync(tokens.audio, tokens.vocal, tokens.valid, tokens.speech, thresholds=thresholds)


def shift_trials(
    parts: ClipParts,
    provider: TokenProvider,
    limits: Sequence[SyncThresholds],
    seed: int,
    file: str,
    draws: int,
    lengths: Sequence[int] = LENGTHS_S,
) -> list[list[ShiftTrial]]:
    """`draws` cuts and shifts from [-12, 12] frames for each length that the clip has, and for the whole clip; a list a
    view."""
    trials: list[list[ShiftTrial]] = [[] for _ in provider.views]
    for seconds in [*lengths, 0]:
        generator = generator_for(seed, file, f"clip lag {seconds}")
        video, own, told = None, [], []
        for _ in range(draws):
            part = cut(parts, seconds, generator) if seconds else parts
            if part is None:
                break
            if video is None or len(part) < len(parts):  # a cut of its own each time, the whole clip only once
                video = watched(provider, part)
                still = with_audio(provider, video, part.waveform)
                own, told = [read_both(t) for t in still], _told(still, limits)
            shift = draw_shift(generator, MAX_SHIFT)
            moved = with_audio(provider, video, shift_audio(part.waveform, shift))
            label = f"{seconds} s" if seconds else WHOLE
            for k, (found, verdict) in enumerate(zip(moved, _told(moved, limits), strict=True)):
                trials[k].append(ShiftTrial(label, shift, own[k], read_both(found), verdict, told[k]))
    return trials


def _told(tokens: Sequence[Tokens], limits: Sequence[SyncThresholds]) -> list[tuple[str, int | None]]:
    results = [judge(t, limit) for t, limit in zip(tokens, limits, strict=True)]
    return [(result.verdict, result.lag_frames) for result in results]


def measure_clip(
    clip: Clip, parts: ClipParts, provider: TokenProvider, seed: int, draws: int, limits: Sequence[SyncThresholds]
) -> list[ClipMeasure]:
    """All numbers that need this clip alone, one ClipMeasure a view. limits: the verdict's thresholds, one a view.

    SyncLipError on tokens that misfit.
    """
    video = watched(provider, parts)
    still = with_audio(provider, video, parts.waveform)
    done = [_measure_view(clip, tokens, provider.name, seed) for tokens in still]
    for m, trials in zip(done, shift_trials(parts, provider, limits, seed, clip.file, draws), strict=True):
        m.trials = trials
    for m, (verdict, _) in zip(done, _told(still, limits), strict=True):
        m.verdicts.append(("untouched", verdict))

    generator = generator_for(seed, clip.file, "in sync")
    for _ in range(draws):
        shift = draw_shift(generator, MAX_SHIFT, NEGATIVE_SHIFT)
        shifted = with_audio(provider, video, shift_audio(parts.waveform, shift))
        for m, tokens, (verdict, _) in zip(done, shifted, _told(shifted, limits), strict=True):
            m.negatives.append(read_both(tokens))
            m.verdicts.append(("audio early" if shift > 0 else "audio late", verdict))

    generator = generator_for(seed, clip.file, "sub-frame")
    for _ in range(draws if clip.trusted else 0):
        lag = float(generator.uniform(-MAX_SHIFT, MAX_SHIFT))
        shifted = with_audio(provider, video, shift_audio(parts.waveform, lag))
        for m, tokens in zip(done, shifted, strict=True):
            m.subframe.append(ShiftTrial(WHOLE, lag, m.untouched, read_both(tokens)))
    return done


def _measure_view(clip: Clip, tokens: Tokens, name: str, seed: int) -> ClipMeasure:
    audio, vocal = tokens.audio, tokens.vocal
    if not len(vocal) or audio.shape != vocal.shape:
        raise SyncLipError(f"{clip.file}: tokens of {audio.shape} and {vocal.shape} do not fit")
    windows, ranks, lse = {}, {}, {}
    for ends in (False, True):
        heard, seen = tokens.counted(ends)
        centres = {"all": None, "speech": tokens.speech, "little speech": ~tokens.speech}
        windows[ends] = {
            part: window_lag(audio, vocal, valid=seen, heard=heard, centres=where) for part, where in centres.items()
        }
        both = seen if heard is None else seen & heard
        ranks[ends] = same_clip(audio, vocal, generator_for(seed, clip.file, "same clip"), both)
        lse[ends] = lip_sync_error(audio, vocal, name, valid=seen, heard=heard)
    return ClipMeasure(clip, tokens, read_both(tokens), windows, ranks, lse)


def collect(
    clips: Sequence[Clip], work: Callable[[Clip], Made], label: str, quiet: bool = False
) -> tuple[list[Made], list[dict[str, str]]]:
    """`work` on every clip, with a progress bar: what it gave, clip by clip.

    A clip that fails is listed as {file, error} and never stops the rest.
    """
    done: list[Made] = []
    failed: list[dict[str, str]] = []
    bar: Iterable[Clip] = tqdm(clips, desc=label, unit="clip", disable=quiet)
    for clip in bar:
        try:
            done.append(work(clip))
        except Exception as error:  # whatever one file does to the decoder, the others still count
            failed.append({"file": clip.file, "error": str(error) or type(error).__name__})
    return done, failed


def other_clip(index: int, total: int, generator: np.random.Generator) -> int:
    """Another clip than `index`, evenly; ValueError where there is none."""
    other = int(generator.integers(0, total - 1))
    return other + (other >= index)


def with_other_audio(measure: ClipMeasure, other: ClipMeasure) -> Tokens:
    """The other clip's audio under this clip's video, over their common length; ends are those of both."""
    ticks = min(len(measure.tokens.vocal), len(other.tokens.audio))
    own, sound = measure.tokens.first(ticks), other.tokens.first(ticks)
    return Tokens(sound.audio, own.vocal, own.valid, sound.speech, sound.heard, own.seen)
