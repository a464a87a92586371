"""Lag, in-sync score and confidence from two token streams (SyncLipMAE, section 4.1), for a clip and along it.

A lag is in frames at 25 fps, positive when the video lags the audio (the audio is early).
D(l) = mean over u of d(a_u, v_{u+l}); the lag is its argmin.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..metrics.distance import (
    FPS,
    as_mask,
    best_lag,
    curve_confidence,
    distance_band,
    distance_curve,
    mean_curve,
    median,
)
from .timeline import Segment, Window, find_segments, find_windows, find_worst_ticks, number, rounded
from .verdict import CANNOT_TELL, MS_PER_FRAME, SyncThresholds, decide, lag_words

__all__ = [
    "Segment",
    "SyncResult",
    "SyncThresholds",
    "Window",
    "distance_curve",
    "in_sync_score",
    "lag_words",
    "measure_sync",
    "refine_lag",
]

_SPEECH_MARGIN = 5  # ticks around speech that speech weighting keeps: a mouth that opens or closes is evidence


@dataclass(frozen=True)
class SyncResult:
    """What the tokens say about one clip.

    lag_frames, lag_ms: None where the verdict is cannot_tell; best_lag_frames: the argmin all the same, or None.
    score: median(D) - D(0), how much better lag 0 fits than a usual lag (the in-sync score); similarity: 1 - D(0),
    the paper's plain mean cosine at lag 0, which shifts from clip to clip. confidence: median - minimum of D.
    refined_lag_ms: parabola through the minimum, finer than a frame. agreement: share of the reliable windows within
    the tolerance of the clip's lag. curve[i]: D(i - max_lag), None where undefined. worst_ticks: ticks of speech
    where the mouth fits the voice least, worst first.
    """

    verdict: str
    text: str
    lag_frames: int | None
    lag_ms: int | None
    best_lag_frames: int | None
    refined_lag_ms: float | None
    score: float | None
    similarity: float | None
    confidence: float | None
    required_confidence: float
    duration_s: float
    face_s: float
    speech_s: float
    agreement: float | None
    max_lag: int
    curve: list[float | None] = field(repr=False)
    windows: list[Window] = field(repr=False)
    segments: list[Segment]
    worst_ticks: list[int]

    @property
    def margin(self) -> float:
        """confidence above what a verdict needs: tells which of several faces fits a voice best, however long seen."""
        return -math.inf if self.confidence is None else self.confidence - self.required_confidence

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, None for what is undefined (never NaN)."""
        plain = ("verdict", "text", "lag_frames", "lag_ms", "best_lag_frames", "max_lag", "worst_ticks")
        numbers = (
            "refined_lag_ms",
            "score",
            "similarity",
            "confidence",
            "required_confidence",
            "duration_s",
            "face_s",
            "speech_s",
            "agreement",
        )
        result: dict[str, Any] = {name: getattr(self, name) for name in plain}
        result |= {name: rounded(getattr(self, name)) for name in numbers}
        result["curve"] = [rounded(value) for value in self.curve]
        result["windows"] = [window.to_dict() for window in self.windows]
        result["segments"] = [segment.to_dict() for segment in self.segments]
        return result


def in_sync_score(curve: np.ndarray) -> float:
    """median(D) - D(0); NaN where D(0) is undefined. The paper's in-sync score is the similarity at lag 0; the clip's
    usual distance is taken off because a voice or a face moves all of D up or down by as much as sync does.
    """
    zero = curve[len(curve) // 2]
    return float(median(curve) - zero) if np.isfinite(zero) else math.nan


def refine_lag(curve: np.ndarray) -> float | None:
    """The minimum of the parabola through D around its argmin, in frames; the argmin itself at an edge.

    None where undefined.
    """
    lag = best_lag(curve)
    if lag is None:
        return None
    index = lag + len(curve) // 2
    if index in (0, len(curve) - 1):
        return float(lag)
    left, middle, right = curve[index - 1 : index + 2]
    bend = left - 2 * middle + right
    if not np.isfinite(bend) or bend <= 1e-12:
        return float(lag)
    return lag + float(np.clip((left - right) / (2 * bend), -0.5, 0.5))


def _dilate(mask: np.ndarray, ticks: int) -> np.ndarray:
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, ticks), 2 * ticks + 1)
    return np.asarray(around[: len(mask)].any(axis=1))


def measure_sync(
    audio: Any,
    vocal: Any,
    valid: Any = None,
    speech: Any = None,
    *,
    max_lag: int = 15,
    wide_lag: int | None = None,
    window: int = 50,
    hop: int = 10,
    weighting: str = "equal",
    worst: int = 6,
    thresholds: SyncThresholds | None = None,
) -> SyncResult:
    """The whole answer for one clip.

    audio, vocal: [T, D] tokens at 25 fps; valid: bool [T], ticks with a face; speech: bool [T], ticks with speech
    (media.speech.speech_mask); None for either means all.
    max_lag: search range in frames; wide_lag: a second, wider search (say 75) when the first finds nothing clear or
    ends at its edge. window, hop: ticks of the analysis along the clip; a clip shorter than `window` is one window.
    weighting: "equal" weighs all ticks alike (evaluation.md); "speech" drops ticks further than 0.2 s from speech.
    worst: how many worst ticks to name. Never fails on short clips: fewer than 5 pairs give no lag and the verdict
    cannot_tell. ValueError on shapes that differ, SyncLipError on NaN tokens.
    """
    if weighting not in ("equal", "speech"):
        raise ValueError(f"weighting: expected 'equal' or 'speech', got {weighting!r}")
    if window < 1 or hop < 1:
        raise ValueError(f"window and hop: expected 1 or more ticks, got {window} and {hop}")
    limits = thresholds or SyncThresholds()
    length = len(audio)
    face = as_mask(valid, length)
    talk = as_mask(speech, length, "speech")
    weights = _dilate(talk, _SPEECH_MARGIN).astype(np.float64) if weighting == "speech" else None
    face_s, speech_s = face.sum() / FPS, (face & talk).sum() / FPS
    judged_s = face_s if weights is None else (face & (weights > 0)).sum() / FPS

    # 1. the clip's curve, over more lags if the usual ones settle nothing
    for reach in [max_lag] + ([wide_lag] if wide_lag is not None and wide_lag > max_lag else []):
        band = distance_band(audio, vocal, reach, face)
        curve = mean_curve(band, weights)
        lag = best_lag(curve)
        confidence = float(curve_confidence(curve))
        required = limits.required(judged_s, 2 * reach + 1)
        if lag is not None and abs(lag) < reach and confidence >= required:
            break

    # 2. the verdict
    verdict, text = decide(
        lag, confidence, duration_s=length / FPS, face_s=judged_s, speech_s=speech_s, max_lag=reach, thresholds=limits
    )
    told = lag if verdict != CANNOT_TELL else None
    refined = refine_lag(curve)

    # 3. along the clip
    windows = find_windows(band, face, talk, min(window, max(length, 1)), hop, limits)
    reliable = [w.lag_frames for w in windows if w.reliable and w.lag_frames is not None]
    agreement = None
    if told is not None and reliable:
        agreement = float(np.mean([abs(found - told) <= limits.tolerance_frames for found in reliable]))
    zero = float(curve[reach])
    return SyncResult(
        verdict=verdict,
        text=text,
        lag_frames=told,
        lag_ms=None if told is None else told * MS_PER_FRAME,
        best_lag_frames=lag,
        refined_lag_ms=None if refined is None else refined * MS_PER_FRAME,
        score=number(in_sync_score(curve)),
        similarity=number(1 - zero),
        confidence=number(confidence),
        required_confidence=required,
        duration_s=length / FPS,
        face_s=float(face_s),
        speech_s=float(speech_s),
        agreement=agreement,
        max_lag=reach,
        curve=[number(value) for value in curve],
        windows=windows,
        segments=[] if told is None else find_segments(windows, told, length / FPS, limits),
        worst_ticks=[] if told is None else find_worst_ticks(band, told, face & talk, worst),
    )
