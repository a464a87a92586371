"""What `score` says about one file: the verdict, its numbers and its words. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from ..clock import FRAME_MS
from ..text import plain

if TYPE_CHECKING:
    from .along.judge import Timeline
    from .measure import SyncResult

Verdict = Literal["in_sync", "audio_early", "audio_late", "mixed", "drift", "does_not_follow", "cannot_tell", "error"]
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
    "words",
    "reason",
    "stretches",
    "drift_ms_per_s",
    "worst_lag_ms",
    "follows",
    "contrast",
    "audio_track",
    "tracks",
    "audio",
    "still",
)


@dataclass
class ScoreReport:
    """The answer for one file.

    lag_frames: at 25 fps, positive when the video lags the audio (the audio is early); None where it cannot tell.
    score: in-sync score, higher is better. confidence: probability, 0..1, that the lag is right within a frame (of a
    mixed file: of its least sure stretch). contrast: how much the best lag stands out (median - minimum of `curve`).
    reason: why, where the answer is not plainly "in sync". stretches: the file along its time, `sync.stretches.Stretch`
    as plain data; drift_ms_per_s: of a file whose lag changes steadily; worst_lag_ms: the largest of any stretch;
    follows: share of the judged seconds in which the lips follow the voice. audio_track: that was judged, from 0.
    audio: the other file whose sound was judged, None: the file's own.
    tracks: every face that was followed, `sync.speakers.face_row`: where, from when to when [s], its own verdict
    and lag, when its mouth moves, and whether the file's verdict is about it.
    still: of faces that should not talk, `sync.still.check_still`: whether and when their mouths move.
    duration_s: of the video. faces: number of face tracks seen.
    windows: `sync.Window.to_dict()` of each stretch: start_s, end_s, lag_frames (None where the stretch has nothing to
    go by), confidence, speech (share, 0..1), and more. Times in seconds from the first video frame.
    curve: distance D(l) for l = -max_lag .. +max_lag (evaluation.md, "Clip lag"), None where undefined.
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
    reason: str = ""
    stretches: list[dict[str, Any]] = field(default_factory=list)
    drift_ms_per_s: float | None = None
    worst_lag_ms: float | None = None
    follows: float | None = None
    contrast: float | None = None
    audio_track: int | None = None
    tracks: list[dict[str, Any]] = field(default_factory=list)
    audio: str | None = None
    still: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")
        if self.verdict not in ("in_sync", "audio_early", "audio_late"):  # a number here would be taken for a finding
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
            contrast=result.confidence,
            duration_s=result.duration_s,
            faces=faces,
            windows=[window.to_dict() for window in result.windows],
            curve=result.curve,
            worst_ticks=result.worst_ticks,
        )

    @classmethod
    def from_timeline(cls, file: str, result: SyncResult, timeline: Timeline, faces: int) -> ScoreReport:
        """The same with the truth along the file (`sync.judge`), whose verdict is the report's."""
        report = cls.from_sync(file, result, faces)
        lag, worst = timeline.lag_frames, timeline.worst_frames
        report.verdict, report.words, report.reason = cast(Verdict, timeline.verdict), timeline.words, timeline.reason
        report.lag_frames = None if lag is None else int(lag) if lag == int(lag) else lag
        report.lag_ms = None if lag is None else lag * FRAME_MS
        report.confidence, report.follows = timeline.confidence, timeline.follows
        report.stretches = [stretch.to_dict() for stretch in timeline.stretches]
        report.drift_ms_per_s = timeline.slope * 1000 if timeline.verdict == "drift" else None
        report.worst_lag_ms = None if worst is None else worst * FRAME_MS
        return report

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
    if verdict in ("mixed", "drift", "does_not_follow"):
        known = {
            "mixed": "no single lag is right",
            "drift": "the lag changes",
            "does_not_follow": "the lips do not follow the voice",
        }
        return known[verdict]
    if verdict == "cannot_tell":
        return error or "no reliable speech: cannot tell"
    return f"error: {error}" if error else "error"
