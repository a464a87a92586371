"""What one pass over a video leaves of its faces, until it is known which of them is meant."""

from collections.abc import Sequence

import numpy as np

from ..faces.selection import TrackSummary
from ..faces.track_output import TrackChunk
from ..follow import SurestPicture
from ..models.visual_encoder import VOCAL
from .along.look import face_look, lay
from .along.stretches import mouth_moves


class Found:
    """Of every face track the prompts to keep, how it looks at each tick, and its surest picture."""

    def __init__(self, keep: Sequence[int]) -> None:
        self.keep = list(keep)
        self.ticks = 0
        self.reduction = 1.0  # of the frames against the file's size
        self.summaries: list[TrackSummary] = []
        self.warnings: list[str] = []
        self.pictures = SurestPicture()
        self.prompts: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        self.looks: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        self.last_crop: dict[int, np.ndarray] = {}

    def add(self, chunk: TrackChunk, prompts: np.ndarray) -> None:
        self.prompts.setdefault(chunk.track_id, []).append((chunk.ticks, chunk.valid, prompts[:, self.keep]))
        before = self.last_crop.get(chunk.track_id)
        self.looks.setdefault(chunk.track_id, []).append((chunk.ticks, face_look(chunk, before, self.reduction)))
        self.last_crop[chunk.track_id] = chunk.crops[-1].copy()
        self.pictures.add(chunk)

    def track(self, track_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ticks [n], valid [n], prompts [n, len(keep), width] of a track."""
        parts = self.prompts[track_id]
        if len(parts) > 1:  # joined once, and the parts let go
            parts[:] = [tuple(map(np.concatenate, zip(*parts, strict=True)))]  # type: ignore[list-item]
        return parts[0]

    def look_of(self, track: np.ndarray) -> np.ndarray:
        """float32 [T, 5]: of each tick's own face in `track` (-1: none), NaN where there is none."""
        whole = lay(len(track), [])
        for track_id, parts in self.looks.items():
            own = track == track_id
            whole[own] = lay(len(track), parts)[own]
        return whole

    def vocal(self, track_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same with the vocal prompts alone, [n, width]."""
        ticks, valid, prompts = self.track(track_id)
        return ticks, valid, prompts[:, self.keep.index(VOCAL)]

    def moves(self, track_id: int) -> list[tuple[float, float]]:
        """From when to when [s] the mouth of a track moves as in speech."""
        ticks, valid, _ = self.track(track_id)
        seen = np.zeros(self.ticks, bool)
        seen[ticks[valid]] = True
        return mouth_moves(lay(self.ticks, self.looks[track_id]), seen)
