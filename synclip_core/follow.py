"""One pass over a video: decoded on a thread ahead, its faces found, followed and cropped.

Whoever needs the faces of a file comes here: the pipeline, dubbing, the nodes, train.prepare.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .errors import SyncLipError
from .faces.selection import Choice, TrackCollector, TrackSummary, select_tracks
from .faces.track_output import TrackChunk
from .faces.tracking import FaceTracker
from .media.info import MediaInfo, probe
from .media.video import FrameMap, SourceFrame, TickReader
from .stages import Ahead

Look = Callable[[int, int, SourceFrame], None]  # tick, ticks expected, frame
AHEAD = 8  # ticks that wait for the tracker
AHEAD_BYTES = 96 << 20  # fewer of them when the frames are huge


class FacePass(Iterator[TrackChunk]):
    """Iterate once over the chunks of all faces, tracks interleaved; a bounded number of frames is in memory.

    path: a video. max_side: frames are reduced to it [px], None: as they are. look(tick, expected, frame) is called
    for every tick, in order, on the caller's thread; what it raises ends the pass. info: of `probe`, where it is known.
    what: for the message where there is no video. parts: pictures become RGB where the tracker looks; for a `look` that
    does not need them whole.

    `ticks`, `shape` (of the frames, [H, W]) and `reduction` (of the frames against the file's size) grow along; `map`,
    `warnings` and `summaries` are complete at the end. Close it, or use it in `with`.
    """

    def __init__(
        self,
        path: str | Path,
        tracker: FaceTracker,
        max_side: int | None = None,
        look: Look | None = None,
        info: MediaInfo | None = None,
        what: str = "a video with a face",
        parts: bool = False,
    ) -> None:
        self.info = info or probe(path)
        if not self.info.has_video:
            raise SyncLipError(f"{path}: no video track; expected {what}")
        self._look = look
        self._reader = TickReader(path, max_side=max_side, parts=parts)
        self.expected = self._reader.expected
        self.ticks = 0
        self.shape: tuple[int, ...] = (1, 1)
        self._collector = TrackCollector()
        area = self.info.width * self.info.height * 3
        self._ahead = Ahead(self._reader, max(1, min(AHEAD, AHEAD_BYTES // max(area, 1))))
        self._chunks = tracker.run(self._looked())

    def _looked(self) -> Iterator[tuple[int, SourceFrame]]:
        for tick, frame in self._ahead:
            self.ticks, self.shape = tick + 1, frame.image.shape[:2]
            if self._look is not None:
                self._look(tick, self.expected, frame)
            yield tick, frame

    def __next__(self) -> TrackChunk:
        chunk = next(self._chunks)
        self._collector.add(chunk)
        return chunk

    @property
    def reduction(self) -> float:
        return max(self.shape) / max(self.info.width, self.info.height, 1)

    @property
    def map(self) -> FrameMap:
        return self._reader.map

    @property
    def warnings(self) -> list[str]:
        return self._reader.warnings

    def summaries(self) -> list[TrackSummary]:
        """Of every face track, by its number."""
        return self._collector.summaries()

    def choose(self, choice: Choice) -> list[int]:
        """The tracks that `choice` means, see faces.selection.select_tracks; a point is given in pixels of the file."""
        return select_tracks(self.summaries(), choice, reduction=self.reduction)

    def close(self) -> None:
        """Releases the file and the thread."""
        self._ahead.close()

    def __enter__(self) -> "FacePass":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SurestPicture:
    """Of each track the crop in which its face was surest."""

    def __init__(self) -> None:
        self._best: dict[int, tuple[float, np.ndarray]] = {}

    def add(self, chunk: TrackChunk) -> None:
        best = int(chunk.score.argmax())
        if chunk.score[best] > self._best.get(chunk.track_id, (-1.0, None))[0]:
            self._best[chunk.track_id] = float(chunk.score[best]), chunk.crops[best].copy()

    def __getitem__(self, track_id: int) -> np.ndarray:
        """uint8 [S, S, 3]."""
        return self._best[track_id][1]
