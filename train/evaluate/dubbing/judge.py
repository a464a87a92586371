"""Who looks at the dubbed videos: an embedding, and the openings of the mouth from the same pass over the file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synclip_core.faces.track_output import TrackChunk
from synclip_core.media.audio import read_audio
from synclip_core.metrics.distance import best_lag, distance_curve
from synclip_core.metrics.lse import lip_sync_error
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams

INNER_LIPS = (13, 14)  # of the mesh: upper and lower lip, in the middle
EYES = (33, 263)


@dataclass(frozen=True)
class Sync:
    """conf: LSE-C; at_zero: how much nearer than its median lag 0 is, over the whole clip; lag: frames."""

    conf: float
    distance: float
    at_zero: float
    lag: int | None


NO_FACE = Sync(np.nan, np.nan, np.nan, None)


@dataclass(frozen=True)
class Look:
    """A video without its sound. mouth: float64 [T], see `opening`."""

    tokens: TokenStreams
    mouth: np.ndarray


class Judge:
    """An embedding that looks at videos and listens to sounds, at each once: it remembers them."""

    def __init__(self, name: str, pipeline: SyncPipeline) -> None:
        self.name, self.pipeline = name, pipeline
        self._seen: dict[Path, Look] = {}
        self._heard: dict[Path, np.ndarray] = {}

    def look(self, video: Path) -> Look:
        if video not in self._seen:
            chunks: list[tuple[int, np.ndarray, np.ndarray]] = []

            def watch(chunk: TrackChunk) -> None:
                chunks.append((chunk.track_id, chunk.ticks, opening(chunk.landmarks, chunk.valid)))

            tokens = self.pipeline.tokens(video, sound=False, watch=watch)
            mouth = np.full(len(tokens.valid), np.nan)
            for track, ticks, apart in chunks:
                chosen = tokens.track[ticks] == track
                mouth[ticks[chosen]] = apart[chosen]
            self._seen[video] = Look(tokens, mouth)
        return self._seen[video]

    def sync(self, video: Path, sound: Path) -> Sync:
        """The mouth of one file against the voice of another. Raises SyncLipError where there is no voice."""
        seen = self.look(video).tokens
        if sound not in self._heard:
            self._heard[sound] = self.pipeline.audio_tokens(read_audio(sound))
        count = min(len(seen.vocal), len(self._heard[sound]))
        if not seen.valid[:count].any():
            return NO_FACE
        pair = self._heard[sound][:count], seen.vocal[:count]
        error = lip_sync_error(*pair, self.name, valid=seen.valid[:count])
        curve = distance_curve(*pair, 15, seen.valid[:count])
        return Sync(
            error.lse_c if error.lse_c is not None else np.nan,
            error.lse_d if error.lse_d is not None else np.nan,
            float(np.nanmedian(curve) - curve[15]),
            best_lag(curve),
        )


def opening(landmarks: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """landmarks: [T, 468, 2] px; seen: bool [T]. float64 [T]: distance of the inner lips in units of the eyes'; NaN
    where no face was seen."""
    lips, eyes = (landmarks[:, list(pair)].astype(np.float64) for pair in (INNER_LIPS, EYES))
    apart = np.linalg.norm(lips[:, 0] - lips[:, 1], axis=-1) / np.maximum(
        np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1), 1e-6
    )
    return np.where(seen, apart, np.nan)
