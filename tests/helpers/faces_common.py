"""Short runs of frames for the face tests, made from real clips: side by side, joined, blanked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synclip_core.faces.track_output import TrackChunk, TrackOptions
from synclip_core.faces.tracking import FaceTracker
from synclip_core.media.video import iter_ticks

GRID = "grid_s1/bbaf2n.mp4"
OTHER = "talk/AniTalker_50c11d2c.mp4"


@dataclass(frozen=True, eq=False)
class Still:
    """Stands in for a SourceFrame."""

    index: int
    time_s: float
    image: np.ndarray


def read_images(path: Path, count: int) -> list[np.ndarray]:
    return [frame.image for (_, frame), _ in zip(iter_ticks(path), range(count), strict=False)]


def as_ticks(images: list[np.ndarray]) -> list[tuple[int, Still]]:
    return [(k, Still(k, k / 25, image)) for k, image in enumerate(images)]


def track(images: list[np.ndarray], **options: object) -> dict[int, TrackChunk]:
    """Each track as one chunk; ticks need not be consecutive then."""
    chunks = list(FaceTracker(TrackOptions(**options)).run(as_ticks(images)))
    return join(chunks)


def join(chunks: list[TrackChunk]) -> dict[int, TrackChunk]:
    parts: dict[int, list[TrackChunk]] = {}
    for chunk in chunks:
        parts.setdefault(chunk.track_id, []).append(chunk)
    names = [name for name in TrackChunk.__dataclass_fields__ if name != "track_id"]
    return {i: TrackChunk(i, *(np.concatenate([getattr(c, n) for c in p]) for n in names)) for i, p in parts.items()}


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    return np.linalg.norm(landmarks[..., 33, :2] - landmarks[..., 263, :2], axis=-1)


def landmark_error(landmarks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean point distance as a share of the distance of the outer eye corners, one a face."""
    distance = np.linalg.norm(landmarks[..., :468, :2] - reference[..., :468, :2], axis=-1).mean(-1)
    return distance / eye_distance(reference)
