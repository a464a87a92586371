"""From a lag and its confidence to a verdict: one machine word and one sentence."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import SyncLipError

IN_SYNC, AUDIO_EARLY, AUDIO_LATE, CANNOT_TELL = "in_sync", "audio_early", "audio_late", "cannot_tell"
MS_PER_FRAME = 40
_USUAL_LAGS = 31


@dataclass(frozen=True)
class SyncThresholds:
    """What a verdict needs. A checkpoint carries its own, fitted on the validation split
    (`python -m train.evaluate thresholds`).

    confidence: median - minimum of the curve over one second of face; below it a lag is guesswork. Chance minima of a
      mean over n seconds shrink with 1 / sqrt(n), and so does what is required, down to its value at `settle_s`.
    in_sync_score: at or above this the pair counts as in sync (UniSync, section IV-B).
    tolerance_frames: lags up to this are "in sync"; one frame is the unit of evaluation.md and about what viewers
      notice when the audio leads (ITU-R BT.1359: 45 ms).
    min_speech_s, min_face_s: with less there is nothing to judge.
    """

    confidence: float = 0.15
    settle_s: float = 10.0
    in_sync_score: float = 0.1
    tolerance_frames: int = 1
    min_speech_s: float = 0.4
    min_face_s: float = 0.4

    def required(self, seconds: float, lags: int = _USUAL_LAGS) -> float:
        """Confidence that a curve over `lags` lags, averaged over `seconds`, must reach.

        More lags give deeper chance minima.
        """
        widened = math.sqrt(math.log(max(lags, 2)) / math.log(_USUAL_LAGS)) if lags > _USUAL_LAGS else 1.0
        return self.confidence * widened / math.sqrt(min(max(seconds, 1 / 25), self.settle_s))

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SyncThresholds":
        """Missing names keep their defaults. SyncLipError on an unknown name or anything but a finite, non-negative
        number (in_sync_score may be negative).
        """
        known = {field.name for field in fields(cls)}
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise SyncLipError(
                    f"sync thresholds: unknown name {name!r}; expected some of {', '.join(sorted(known))}"
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise SyncLipError(f"sync thresholds: {name} must be a finite number, got {value!r}")
            if value < 0 and name != "in_sync_score":
                raise SyncLipError(f"sync thresholds: {name} must not be negative, got {value!r}")
            clean[name] = int(value) if name == "tolerance_frames" else float(value)
        return cls(**clean)


def lag_words(lag_frames: float, tolerance_frames: int = 1, open_ended: bool = False) -> str:
    """3 -> "audio is 120 ms early", -2 -> "audio is 80 ms late"; up to the tolerance "in sync".

    open_ended: the search ended there.
    """
    if abs(lag_frames) <= tolerance_frames:
        return "in sync"
    more = " or more" if open_ended else ""
    return f"audio is {round(abs(lag_frames) * MS_PER_FRAME)} ms{more} {'early' if lag_frames > 0 else 'late'}"


def decide(
    lag_frames: int | None,
    confidence: float,
    *,
    duration_s: float,
    face_s: float,
    speech_s: float,
    max_lag: int,
    thresholds: SyncThresholds,
) -> tuple[str, str]:
    """Returns (in_sync | audio_early | audio_late | cannot_tell, sentence).

    face_s: seconds with a face; speech_s: seconds with a face and speech. What is missing is said, the plainest
    reason first.
    """
    if duration_s < max(thresholds.min_face_s, thresholds.min_speech_s):
        return CANNOT_TELL, "too short: cannot tell"
    if face_s < thresholds.min_face_s:
        return CANNOT_TELL, "no face to judge by: cannot tell"
    if speech_s < thresholds.min_speech_s:
        return CANNOT_TELL, "no reliable speech: cannot tell"
    if lag_frames is None:
        return CANNOT_TELL, "too short: cannot tell"
    if not confidence >= thresholds.required(face_s, 2 * max_lag + 1):
        return CANNOT_TELL, "mouth and voice do not clearly match at any lag: cannot tell"
    words = lag_words(lag_frames, thresholds.tolerance_frames, abs(lag_frames) == max_lag)
    if abs(lag_frames) <= thresholds.tolerance_frames:
        return IN_SYNC, words
    return (AUDIO_EARLY if lag_frames > 0 else AUDIO_LATE), words
