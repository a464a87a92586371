"""Clip lag: one estimate a clip against a known shift of its audio (evaluation.md; SyncLipMAE, section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .distance import FPS

LENGTHS_S = (1, 2, 3, 5, 10)
MAX_SHIFT = 12


@dataclass(frozen=True)
class ClipLag:
    """count: estimates that exist; undefined: clips too short (or without a face) for any lag, counted as misses in
    `within_1`.
    """

    count: int
    undefined: int
    within_1: float | None
    mean_error_ms: float | None


def clip_lag(estimates: Sequence[float | None], truths: Sequence[float]) -> ClipLag:
    """estimates: lags in frames at 25 fps, None where the clip gave none; truths: the known lags.

    within_1: share of all clips with |error| <= 1 frame, an estimate of None being a miss. mean_error_ms: over
    estimates that exist. Clips under 5 frames have no estimate. Both None without clips.
    """
    pairs = [(e, t) for e, t in zip(estimates, truths, strict=True) if e is not None]
    errors = np.abs(np.array([e - t for e, t in pairs], dtype=np.float64))
    total = len(truths)
    within = float((errors <= 1 + 1e-9).sum() / total) if total else None
    return ClipLag(len(errors), total - len(errors), within, float(errors.mean() * 1000 / FPS) if len(errors) else None)


def shift_audio(waveform: np.ndarray, lag_frames: float, rate: int = 16000) -> np.ndarray:
    """The waveform moved so that the clip's true lag grows by `lag_frames`: positive makes the audio early. Silence
    fills the gap.

    waveform: [N] mono. The length stays; a shift longer than the clip leaves silence.
    """
    samples = round(lag_frames * rate / FPS)
    shifted = np.zeros_like(waveform)
    if samples >= 0:
        shifted[: max(0, len(waveform) - samples)] = waveform[samples:]
    else:
        shifted[-samples:] = waveform[:samples]
    return shifted


def draw_shift(generator: np.random.Generator, max_shift: int = MAX_SHIFT, min_shift: int = 0) -> int:
    """A whole lag drawn evenly from [-max_shift, max_shift] with |lag| >= min_shift."""
    choices = [s for s in range(-max_shift, max_shift + 1) if abs(s) >= min_shift]
    return int(generator.choice(choices))
