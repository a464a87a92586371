"""What `score` says about one file: the verdict, its numbers and its words. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from ..clock import FRAME_MS
from ..text import plain

if TYPE_CHECKING:
    from .measure import SyncResult

Verdict = Literal["in_sync", "audio_early", "audio_late", "cannot_tell", "error"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

# The keys of one object of `synclip score --json`, in order. Scripts rely on them: add, never rename or remove.
JSON_KEYS = (
    "file",
    "verdict",
    "lag_frames",
    "lag_ms",
    "score",
    "confidence",
    "duration_s",
    "faces",
    "windows",
    "error",
)


@dataclass
class ScoreReport:
    """The answer for one file.

    lag_frames: at 25 fps, positive when the video lags the audio (the audio is early); None where it cannot tell.
    score: in-sync score, higher is better. confidence: how much the best lag stands out (median - minimum of `curve`).
    duration_s: of the video. faces: number of face tracks seen.
    windows: `sync.Window.to_dict()` of each stretch: start_s, end_s, lag_frames (None where the stretch has nothing to
    go by), confidence, speech (share, 0..1), and more. Times in seconds from the first video frame.
    curve: distance D(l) for l = -max_lag .. +max_lag (EVALUATION.md, "Clip lag"), None where undefined.
    worst_ticks: ticks at 25 fps where the mouth fits the voice least, worst first.
    words: the verdict for people; filled in from the other fields when left empty.
    """

    file: str
    verdict: Verdict
    lag_frames: float | None = None
    lag_ms: float | None = None
    score: float | None = None
    confidence: float | None = None
    duration_s: float | None = None
    faces: int = 0
    windows: list[dict[str, Any]] = field(default_factory=list)
    curve: list[float | None] = field(default_factory=list)
    worst_ticks: list[int] = field(default_factory=list)
    error: str | None = None
    words: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")
        if self.verdict in ("cannot_tell", "error"):  # a number here would be taken for a finding
            self.lag_frames = self.lag_ms = None
        elif self.lag_ms is None and self.lag_frames is not None:
            self.lag_ms = self.lag_frames * FRAME_MS
        if not self.words:
            self.words = verdict_words(self.verdict, self.lag_ms, self.error)

    @property
    def repair_frames(self) -> float | None:
        """The lag to take out: 0 where it is in sync (one frame either way is), None where it cannot tell."""
        return 0.0 if self.verdict == "in_sync" else self.lag_frames

    @classmethod
    def failed(cls, file: str, error: Exception | str, duration_s: float | None = None) -> ScoreReport:
        """The report of a file that could not be scored at all; `error` becomes its message."""
        return cls(file=file, verdict="error", error=str(error), duration_s=duration_s)

    @classmethod
    def from_sync(cls, file: str, result: SyncResult, faces: int) -> ScoreReport:
        """The report of a file from what its tokens said (`sync.measure_sync`)."""
        return cls(
            file=file,
            verdict=cast(Verdict, result.verdict),
            words=result.text,
            lag_frames=result.lag_frames,
            lag_ms=result.lag_ms,
            score=result.score,
            confidence=result.confidence,
            duration_s=result.duration_s,
            faces=faces,
            windows=[window.to_dict() for window in result.windows],
            curve=result.curve,
            worst_ticks=result.worst_ticks,
        )

    def to_json(self) -> dict[str, Any]:
        """The object of `synclip score --json`: JSON_KEYS only, numbers rounded, NaN and infinity as null."""
        return {key: plain(getattr(self, key)) for key in JSON_KEYS}


def verdict_words(verdict: str, lag_ms: float | None, error: str | None = None) -> str:
    """The verdict as a person says it: "in sync", "audio is 120 ms early", "audio is 80 ms late"."""
    if verdict == "in_sync":
        return "in sync"
    if verdict in ("audio_early", "audio_late"):
        side = "early" if verdict == "audio_early" else "late"
        return f"audio is {side}" if lag_ms is None else f"audio is {abs(round(lag_ms))} ms {side}"
    if verdict == "cannot_tell":
        return error or "no reliable speech: cannot tell"
    return f"error: {error}" if error else "error"
