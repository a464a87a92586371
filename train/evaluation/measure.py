"""What is measured on one clip. Video tokens are made once; audio is shifted as samples, its tokens made anew."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.media.speech import speech_mask
from synclip_core.metrics.clip_lag import LENGTHS_S, MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import best_lag, curve_confidence, distance_band, mean_curve
from synclip_core.metrics.lse import LipSyncError, lip_sync_error
from synclip_core.metrics.r_precision import RPrecision, same_clip
from synclip_core.metrics.window_lag import WindowLag, window_lag
from synclip_core.sync import in_sync_score, measure_sync, refine_lag
from synclip_core.verdict import SyncThresholds

from .clips import Clip
from .provider import TICK, ClipTokens, TokenProvider, fit_waveform

WHOLE = "whole"
LITTLE_SPEECH = 0.35  # a clip with speech in a smaller share of its ticks is reported as "little speech"
NEGATIVE_SHIFT = 3  # smallest shift that counts as out of sync (EVALUATION.md: 3 to 12 frames)


@dataclass(frozen=True)
class Reading:
    """One curve: its argmin (None: too short), the argmin with speech weighting, the parabola's minimum, confidence,
    scores.
    """

    lag: int | None
    weighted_lag: int | None
    refined_lag: float | None
    confidence: float
    score: float
    similarity: float


@dataclass(frozen=True)
class ShiftTrial:
    """A cut of `length` ("3 s", "whole") whose audio moved by `shift` frames; own: the same cut untouched."""

    length: str
    shift: float
    own: Reading
    found: Reading


@dataclass
class ClipMeasure:
    clip: Clip
    tokens: ClipTokens
    speech: np.ndarray
    untouched: Reading
    windows: dict[str, dict[int, WindowLag]]  # "all", "speech", "little speech" (by the window's centre) -> K -> sums
    same_clip: RPrecision
    lse: LipSyncError
    trials: list[ShiftTrial] = field(default_factory=list)
    subframe: list[ShiftTrial] = field(default_factory=list)
    negatives: list[Reading] = field(default_factory=list)
    verdicts: list[tuple[str, str]] = field(default_factory=list)  # (case, verdict)

    @property
    def part(self) -> str:
        return "speech" if self.speech.mean() >= LITTLE_SPEECH else "little speech"


def generator_for(seed: int, *names: str) -> np.random.Generator:
    """One generator a clip and purpose: a clip that fails or joins changes no other clip's draws."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def read_curve(audio: np.ndarray, vocal: np.ndarray, valid: np.ndarray, speech: np.ndarray | None = None) -> Reading:
    """audio, vocal: [T, D]. The lag by EVALUATION.md's definition, and its alternatives beside it."""
    band = distance_band(audio, vocal, valid=valid)
    curve = mean_curve(band)
    weighted = None
    if speech is not None:
        near = np.convolve(speech, np.ones(11), mode="full")[5 : 5 + len(speech)] > 0.5  # speech and 0.2 s around it
        weighted = best_lag(mean_curve(band, near.astype(np.float64)))
    zero = float(curve[len(curve) // 2])
    return Reading(
        best_lag(curve), weighted, refine_lag(curve), float(curve_confidence(curve)), in_sync_score(curve), 1 - zero
    )


def cut(
    tokens: ClipTokens, provider: TokenProvider, seconds: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(waveform, vocal, valid) of `seconds` from a random place; None for shorter clips.

    Vocal tokens are made from the cut's own frames: a model that takes off the clip's mean, or looks along the clip,
    must not know the rest of it. Two missing ticks are forgiven: a file of 3 s often holds 74 frames.
    """
    total = len(tokens.vocal)
    ticks = min(total, seconds * 25)
    if total < seconds * 25 - 2:
        return None
    start = int(generator.integers(0, total - ticks + 1))
    part = slice(start, start + ticks)
    vocal, valid = tokens.vocal[part], tokens.valid[part]
    if tokens.frames is not None and ticks < total:
        vocal = provider.vocal_tokens(tokens.frames[part], valid)
    return tokens.waveform[start * TICK : (start + ticks) * TICK], vocal, valid


def shift_trials(
    tokens: ClipTokens, provider: TokenProvider, seed: int, file: str, draws: int, lengths: Sequence[int] = LENGTHS_S
) -> list[ShiftTrial]:
    """`draws` cuts and shifts from [-12, 12] frames for each length that the clip has, and for the whole clip."""
    trials = []
    for seconds in [*lengths, 0]:
        generator = generator_for(seed, file, f"clip lag {seconds}")
        label = f"{seconds} s" if seconds else WHOLE
        own = None
        for _ in range(draws):
            part = (
                cut(tokens, provider, seconds, generator) if seconds else (tokens.waveform, tokens.vocal, tokens.valid)
            )
            if part is None:
                break
            wave, vocal, valid = part
            if own is None or len(vocal) < len(tokens.vocal):  # a cut of its own each time, the whole clip only once
                own = read_curve(provider.audio_tokens(wave), vocal, valid, speech_mask(wave))
            shift = draw_shift(generator, MAX_SHIFT)
            moved = shift_audio(wave, shift)
            found = read_curve(provider.audio_tokens(moved), vocal, valid, speech_mask(moved))
            trials.append(ShiftTrial(label, shift, own, found))
    return trials


def measure_clip(clip: Clip, provider: TokenProvider, seed: int, draws: int, thresholds: SyncThresholds) -> ClipMeasure:
    """All numbers that need this clip alone. Raises what the provider raises; SyncLipError on tokens that misfit."""
    tokens = provider.tokens(clip.path)
    audio, vocal, valid = tokens.audio, tokens.vocal, tokens.valid
    if not len(vocal) or audio.shape != vocal.shape or valid.shape != vocal.shape[:1]:
        raise SyncLipError(
            f"{clip.file}: tokens of {audio.shape}, {vocal.shape} and a mask of {valid.shape} do not fit"
        )
    speech = speech_mask(fit_waveform(tokens.waveform, len(vocal)))
    measure = ClipMeasure(
        clip=clip,
        tokens=tokens,
        speech=speech,
        untouched=read_curve(audio, vocal, valid, speech),
        windows={
            "all": window_lag(audio, vocal, valid=valid),
            "speech": window_lag(audio, vocal, valid=valid, centres=speech),
            "little speech": window_lag(audio, vocal, valid=valid, centres=~speech),
        },
        same_clip=same_clip(audio, vocal, generator_for(seed, clip.file, "same clip"), valid),
        lse=lip_sync_error(audio, vocal, provider.name, valid=valid),
        trials=shift_trials(tokens, provider, seed, clip.file, draws),
    )
    measure.verdicts.append(("untouched", measure_sync(audio, vocal, valid, speech, thresholds=thresholds).verdict))

    generator = generator_for(seed, clip.file, "in sync")
    for _ in range(draws):
        shift = draw_shift(generator, MAX_SHIFT, NEGATIVE_SHIFT)
        moved = shift_audio(tokens.waveform, shift)
        shifted, talk = provider.audio_tokens(moved), speech_mask(moved)
        measure.negatives.append(read_curve(shifted, vocal, valid))
        verdict = measure_sync(shifted, vocal, valid, talk, thresholds=thresholds).verdict
        measure.verdicts.append(("audio early" if shift > 0 else "audio late", verdict))

    generator = generator_for(seed, clip.file, "sub-frame")
    for _ in range(draws if clip.trusted else 0):
        lag = float(generator.uniform(-MAX_SHIFT, MAX_SHIFT))
        found = read_curve(provider.audio_tokens(shift_audio(tokens.waveform, lag)), vocal, valid)
        measure.subframe.append(ShiftTrial(WHOLE, lag, measure.untouched, found))
    return measure


def collect(
    clips: Sequence[Clip], work: Callable[[Clip], ClipMeasure], label: str, quiet: bool = False
) -> tuple[list[ClipMeasure], list[dict[str, str]]]:
    """`work` on every clip, with a progress bar.

    A clip that fails is listed as {file, error} and never stops the rest.
    """
    done: list[ClipMeasure] = []
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


def with_other_audio(measure: ClipMeasure, other: ClipMeasure) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(audio, vocal, valid, speech): the other clip's audio under this clip's video, over their common length."""
    ticks = min(len(measure.tokens.vocal), len(other.tokens.audio))
    return other.tokens.audio[:ticks], measure.tokens.vocal[:ticks], measure.tokens.valid[:ticks], other.speech[:ticks]
