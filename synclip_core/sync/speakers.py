"""Who of several faces talks: each face track measured against the voice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..clock import FPS, FRAME_MS
from ..faces.selection import TrackSummary
from ..text import plain
from .along.judge import Timeline
from .measure import SyncResult


@dataclass(frozen=True)
class FaceScore:
    """One face track. index: how many of the faces seen together with it stand left of it, as `face` counts.

    centre: (x, y) px of the file, a point choice that finds this face again; picture: uint8 [S, S, 3], the face;
    result: sync of its own ticks; windows' times count from the first frame of the clip, as first_s and last_s do.
    timeline: the truth along the clip of this face, on the clip's clock.
    """

    track_id: int
    index: int
    centre: tuple[float, float]
    first_s: float
    last_s: float
    seen_s: float
    picture: np.ndarray
    result: SyncResult
    timeline: Timeline

    @property
    def talks(self) -> bool:
        """The mouth fits the voice at some lag in some stretch, clearly enough for a verdict."""
        return any(stretch.lag_frames is not None for stretch in self.timeline.stretches)

    @property
    def nats(self) -> float:
        """Evidence that the voice is this mouth's, of all stretches that fit."""
        return sum(stretch.nats for stretch in self.timeline.stretches if stretch.lag_frames is not None)

    def windows(self) -> list[dict[str, Any]]:
        """The stretches along the track, as a report gives them, on the clip's clock."""
        moved = []
        for window in self.result.windows:
            row = window.to_dict()
            moved.append(row | {key: round(row[key] + self.first_s, 3) for key in ("start_s", "end_s")})
        return moved

    def to_json(self) -> dict[str, Any]:
        """Plain Python numbers, six decimals."""
        result = self.result
        row = {
            "face": f"{self.centre[0]:.0f},{self.centre[1]:.0f}",
            "index": self.index,
            "first_s": self.first_s,
            "last_s": self.last_s,
            "seen_s": self.seen_s,
            "talks": self.talks,
            "verdict": self.timeline.verdict,
            "words": self.timeline.words,
            "lag_frames": self.timeline.lag_frames,
            "confidence": self.timeline.confidence,
            "contrast": result.confidence,
            "stretches": [stretch.to_dict() for stretch in self.timeline.stretches],
            "windows": self.windows(),
        }
        return {key: plain(value) for key, value in row.items()}


def face_score(
    summary: TrackSummary, index: int, reduction: float, picture: np.ndarray, result: SyncResult, timeline: Timeline
) -> FaceScore:
    """reduction: by how much smaller than the file the frames were in which the face was found, 0..1."""
    x, y = (float(v) / reduction for v in summary.centre)
    return FaceScore(
        track_id=summary.track_id,
        index=index,
        centre=(x, y),
        first_s=summary.first / FPS,
        last_s=(summary.last + 1) / FPS,
        seen_s=summary.seen / FPS,
        picture=picture,
        result=result,
        timeline=timeline,
    )


def face_row(
    summary: TrackSummary,
    reduction: float,
    timeline: Timeline | None,
    chosen: bool,
    moves: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """One face of a file as `ScoreReport.tracks` and --json give it. timeline: None where it was not judged; chosen:
    the file's verdict is about this face; moves: from when to when [s] its mouth moves as in speech."""
    x, y = (float(v) / reduction for v in summary.centre)
    lag = None if timeline is None else timeline.lag_frames
    return {
        "face": f"{x:.0f},{y:.0f}",
        "box": [round(float(v) / reduction) for v in summary.box],
        "from": round(summary.first / FPS, 2),
        "to": round((summary.last + 1) / FPS, 2),
        "verdict": None if timeline is None else timeline.verdict,
        "lag": lag,
        "lag_ms": None if lag is None else round(lag * FRAME_MS),
        "confidence": None if timeline is None or timeline.confidence is None else round(timeline.confidence, 4),
        "chosen": chosen,
        "moves": [list(span) for span in moves],
    }
