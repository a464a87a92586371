"""Sync along a clip: windows with a lag of their own, stretches that depart from the clip, and the worst ticks."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics.distance import FPS, best_lag, curve_confidence, median, window_curves
from .verdict import MS_PER_FRAME, SyncThresholds

_LOCAL = 15  # ticks that the local match behind the worst ticks is smoothed over
_MIN_SPEECH = 0.3  # share of a window that must be speech for the window to vote


def rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


def number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Window:
    """One stretch. lag_frames: argmin of its own curve; confidence: median - minimum; distance: minimum; speech: share.

    reliable: speech, a face and a clear minimum, so that its lag means something; `to_dict` gives no other lag.
    """

    start_s: float
    end_s: float
    lag_frames: int | None
    confidence: float | None
    distance: float | None
    speech: float
    reliable: bool

    def to_dict(self) -> dict[str, Any]:
        lag = self.lag_frames if self.reliable else None
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "lag_frames": lag,
            "lag_ms": None if lag is None else lag * MS_PER_FRAME,
            "confidence": rounded(self.confidence),
            "distance": rounded(self.distance),
            "speech": round(self.speech, 3),
            "reliable": self.reliable,
        }


@dataclass(frozen=True)
class Segment:
    """A stretch that departs from the clip.

    kind "shifted": a reliable lag of its own; "unclear": speech, but no clear match.
    """

    start_s: float
    end_s: float
    kind: str
    lag_frames: int | None
    confidence: float | None

    def to_dict(self) -> dict[str, Any]:
        lag_ms = None if self.lag_frames is None else self.lag_frames * MS_PER_FRAME
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "kind": self.kind,
            "lag_frames": self.lag_frames,
            "lag_ms": lag_ms,
            "confidence": rounded(self.confidence),
        }


def find_windows(
    band: np.ndarray, face: np.ndarray, talk: np.ndarray, window: int, hop: int, limits: SyncThresholds
) -> list[Window]:
    """One Window for every `hop` ticks, the last one ending with the clip.

    Lags that fewer than half the pairs support do not count.
    """
    starts, curves = window_curves(band, window, hop, min_share=0.5)
    if len(band) > window and starts[-1] + window < len(band):
        starts = np.append(starts, len(band) - window)
        curves = np.concatenate([curves, window_curves(band[-window:], window, 1, min_share=0.5)[1]])
    confidence = curve_confidence(curves)
    required = limits.required(window / FPS, band.shape[1])
    result = []
    for start, curve, sure in zip(starts.tolist(), curves, confidence.tolist(), strict=True):
        lag = best_lag(curve)
        share = float(talk[start : start + window].mean())
        spoken_s = (talk & face)[start : start + window].sum() / FPS
        seen = face[start : start + window].mean() >= 0.5
        heard = share >= _MIN_SPEECH and spoken_s >= limits.min_speech_s
        reliable = bool(lag is not None and seen and heard and sure >= required)
        low = None if lag is None else float(np.nanmin(curve))
        result.append(Window(start / FPS, (start + window) / FPS, lag, number(sure), low, share, reliable))
    return result


def find_segments(windows: list[Window], lag: int, duration_s: float, limits: SyncThresholds) -> list[Segment]:
    """Merge neighbouring windows of one kind.

    A segment reaches half a step beyond the centres of its windows, or to the clip's end.
    """
    kinds = []
    for w in windows:
        if w.reliable and w.lag_frames is not None:
            kinds.append("shifted" if abs(w.lag_frames - lag) > limits.tolerance_frames else "")
        else:
            heard = w.speech >= _MIN_SPEECH and w.lag_frames is not None
            kinds.append("unclear" if heard else "")
    centres = [(w.start_s + w.end_s) / 2 for w in windows]
    segments: list[Segment] = []
    begin = 0
    while begin < len(windows):
        end = begin
        while end + 1 < len(windows) and kinds[end + 1] == kinds[begin]:
            end += 1
        if kinds[begin]:
            run = windows[begin : end + 1]
            start_s = 0.0 if begin == 0 else (centres[begin - 1] + centres[begin]) / 2
            end_s = duration_s if end == len(windows) - 1 else (centres[end] + centres[end + 1]) / 2
            shifted = kinds[begin] == "shifted"
            lags = [w.lag_frames for w in run if w.lag_frames is not None]
            sure = [w.confidence for w in run if w.confidence is not None]
            middle = int(np.median(lags)) if shifted else None
            segments.append(Segment(start_s, end_s, kinds[begin], middle, float(np.mean(sure)) if sure else None))
        begin = end + 1
    return segments


def find_worst_ticks(band: np.ndarray, lag: int, judged: np.ndarray, count: int) -> list[int]:
    """Ticks of speech where the clip's lag fits least, worst first, at least a second apart.

    Judged over 0.6 s around each tick, against the usual lag there.
    """
    smooth = min(_LOCAL, len(band))
    starts, curves = window_curves(band, smooth, 1, min_share=0.5)
    at_lag = curves[:, lag + band.shape[1] // 2]
    centres = starts + smooth // 2
    usable = np.isfinite(at_lag) & judged[centres]
    if not usable.any():
        return []
    margin = median(curves[usable]) - at_lag[usable]
    ticks: list[int] = []
    for tick in centres[usable][np.argsort(margin, kind="stable")].tolist():
        if len(ticks) == count:
            break
        if all(abs(tick - other) >= FPS for other in ticks):
            ticks.append(tick)
    return ticks
