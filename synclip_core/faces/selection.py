"""Whose mouth is judged: one face out of the tracks of a video.

A video may hold several people and several scenes. A choice orders the tracks; the best comes first, and then every
track that overlaps none of the chosen in time, so that one face at most is chosen at any moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SyncLipError
from .track_output import TrackChunk

BESIDE = 0.5  # of a face's larger side: a point further away from it is not meant for it
Choice = str | int | tuple[float, float]


@dataclass(frozen=True)
class TrackSummary:
    """first, last: ticks (both inside); seen: ticks with a face found; box: [4] px, the median over them."""

    track_id: int
    first: int
    last: int
    seen: int
    box: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def area(self) -> float:
        return float(np.prod(self.box[2:] - self.box[:2]))

    def overlaps(self, other: "TrackSummary") -> bool:
        return self.first <= other.last and other.first <= self.last


class TrackCollector:
    """Sums up tracks while their chunks pass by."""

    def __init__(self) -> None:
        self._boxes: dict[int, list[np.ndarray]] = {}
        self._span: dict[int, tuple[int, int]] = {}

    def add(self, chunk: TrackChunk) -> None:
        self._boxes.setdefault(chunk.track_id, []).append(chunk.boxes[chunk.valid])
        first, _ = self._span.get(chunk.track_id, (int(chunk.ticks[0]), 0))
        self._span[chunk.track_id] = (first, int(chunk.ticks[-1]))

    def summaries(self) -> list[TrackSummary]:
        """By track_id."""
        result = []
        for track_id in sorted(self._boxes):
            boxes = np.concatenate(self._boxes[track_id])
            box = np.median(boxes, 0) if len(boxes) else np.zeros(4)
            result.append(TrackSummary(track_id, *self._span[track_id], len(boxes), box))
        return result


def parse_choice(text: str) -> Choice:
    """ "auto", "largest", "longest", "speaker", an index such as "1", or a point in pixels such as "320,180"."""
    text = text.strip().lower()
    if text in ("auto", "largest", "longest", "speaker"):
        return text
    try:
        if "," in text:
            x, y = text.split(",")
            return float(x), float(y)
        return int(text)
    except ValueError as error:
        raise SyncLipError(
            f"face={text!r}: expected auto, largest, longest, speaker, an index (0 is the leftmost face) or a point "
            "x,y in pixels"
        ) from error


def select_tracks(
    tracks: Sequence[TrackSummary],
    choice: Choice = "auto",
    scores: Mapping[int, float] | None = None,
    follow: bool = True,
    reduction: float = 1.0,
) -> list[int]:
    """Track ids in order of time, at most one at any tick; empty if there are no tracks.

    choice: "auto" (area times ticks seen), "largest", "longest", "speaker" (the highest of `scores`, track_id -> how
    well the mouth matches the sound), an index (0 = the leftmost of the faces seen together) or a point (x, y) in
    pixels (the nearest face, none where no face lies within half its size of it). follow: also choose where the
    best track is absent; otherwise the best track alone. reduction: of the pictures that were tracked against those
    that a point is given in.
    Raises SyncLipError for an index with no face, a speaker without scores, an unknown word.
    """
    if isinstance(choice, str):
        choice = parse_choice(choice)
    if not tracks:
        return []
    if isinstance(choice, tuple):
        point = np.asarray(choice, np.float64) * reduction
        close = [t for t in tracks if _distance(t, point) <= BESIDE * float(np.max(t.box[2:] - t.box[:2]))]
        ordered = sorted(close, key=lambda t: (_distance(t, point), -t.seen))
    elif isinstance(choice, int):
        ranked = [t for t in tracks if face_index(t, tracks) == choice]
        if not ranked:
            most = max(face_index(t, tracks) for t in tracks) + 1
            raise SyncLipError(
                f"face={choice}: only {most} face{'s are' if most > 1 else ' is'} seen together in this video; "
                f"choose an index from 0 (leftmost) to {most - 1}"
            )
        ordered = sorted(ranked, key=lambda t: -t.seen)
    elif choice == "speaker":
        if scores is None:
            raise SyncLipError("face='speaker' needs a sync score of every face; score the tracks first")
        ordered = sorted(tracks, key=lambda t: (-scores.get(t.track_id, -np.inf), -t.seen))
    else:
        keys = {"auto": lambda t: t.area * t.seen, "largest": lambda t: t.area, "longest": lambda t: t.seen}
        ordered = sorted(tracks, key=keys[choice], reverse=True)
    chosen: list[TrackSummary] = []
    for track in ordered if follow else ordered[:1]:
        if not any(track.overlaps(other) for other in chosen):
            chosen.append(track)
    return [t.track_id for t in sorted(chosen, key=lambda t: t.first)]


def face_index(track: TrackSummary, tracks: Iterable[TrackSummary]) -> int:
    """How many of the faces seen together with this one stand left of it: what an index as a choice counts."""
    return sum(bool(other.overlaps(track) and other.centre[0] < track.centre[0]) for other in tracks)


def _distance(track: TrackSummary, point: np.ndarray) -> float:
    """Pixels from the point to the face's box; inside it, less than zero and least at the centre."""
    outside = np.maximum(np.maximum(track.box[:2] - point, point - track.box[2:]), 0)
    if outside.any():
        return float(np.hypot(*outside))
    half = np.maximum((track.box[2:] - track.box[:2]) / 2, 1e-6)
    return float(np.hypot(*((point - track.centre) / half)) / 2 - 1)
