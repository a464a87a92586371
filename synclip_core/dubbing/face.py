"""The face to dub, followed through a video once: where it is at every tick, and a picture of it to hold on to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..faces.selection import Choice
from ..faces.track_output import TrackOptions
from ..faces.tracking import FaceTracker
from ..follow import FacePass, SurestPicture
from ..media.video import SourceFrame

Watch = Callable[[int, int, np.ndarray], None]  # tick, ticks expected, picture
MARGIN = 8 / 112  # around the canonical square: what train.prepare writes


@dataclass
class FacePath:
    """T ticks at 25 fps, F frames of the file.

    track: int64 [T], whose face, -1 for none; seen: bool [T], False where its place is a guess; transforms: float32
    [T, 2, 3], canonical square -> pixels; landmarks: float32 [T, 468, 2] px; shown: int64 [T], the file's frame of
    each tick; ticks: int64 [F], the tick of each frame of the file; pictures: track -> uint8 [S, S, 3], its surest
    crop; size, margin: of crops; height, width: of the file's pictures.
    """

    track: np.ndarray
    seen: np.ndarray
    transforms: np.ndarray
    landmarks: np.ndarray
    shown: np.ndarray
    ticks: np.ndarray
    pictures: dict[int, np.ndarray]
    size: int
    margin: float
    height: int
    width: int
    warnings: list[str]

    def __len__(self) -> int:
        return len(self.track)


def follow_face(
    path: str | Path,
    size: int,
    margin: float = MARGIN,
    choice: Choice = "auto",
    missing: str = "hold",
    device: str = "cpu",
    watch: Watch | None = None,
) -> FacePath:
    """One pass over the file, a bounded number of pictures in memory. Raises SyncLipError where there is no video or,
    with missing="error", no face somewhere."""
    rows: dict[int, list[tuple[np.ndarray, ...]]] = {}
    best = SurestPicture()

    def look(tick: int, expected: int, frame: SourceFrame) -> None:
        if watch is not None:
            watch(tick, expected, frame.image)

    tracker = FaceTracker(TrackOptions(size, margin, missing=missing), device=device)
    with FacePass(path, tracker, look=look, what="a video with a face to dub") as faces:
        for chunk in faces:
            rows.setdefault(chunk.track_id, []).append((chunk.ticks, chunk.valid, chunk.transforms, chunk.landmarks))
            best.add(chunk)
    count = len(faces.map)
    path_of = FacePath(
        track=np.full(count, -1, np.int64),
        seen=np.zeros(count, bool),
        transforms=np.zeros((count, 2, 3), np.float32),
        landmarks=np.zeros((count, 468, 2), np.float32),
        shown=faces.map.frames,
        ticks=faces.map.ticks,
        pictures={},
        size=size,
        margin=margin,
        height=faces.info.height,
        width=faces.info.width,
        warnings=list(faces.warnings),
    )
    for track_id in faces.choose(choice):
        ticks, seen, transforms, landmarks = map(np.concatenate, zip(*rows[track_id], strict=True))
        path_of.track[ticks], path_of.seen[ticks] = track_id, seen
        path_of.transforms[ticks], path_of.landmarks[ticks] = transforms, landmarks
        path_of.pictures[track_id] = best[track_id]
    return path_of
