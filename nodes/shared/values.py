"""What travels through the pack's sockets, beside the model: faces and tokens. Plain arrays, no ComfyUI."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ...synclip_core.clock import FPS
from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.track_output import TrackChunk


@dataclass(frozen=True)
class Faces:
    """The chosen face of a video, one at most a tick at 25 fps.

    chunks: of the chosen tracks, in the order of tracking, in pixels of the full picture; ticks: of the video;
    frame_ticks: int64 [frames], the tick of each source frame; fps: of the source; seen: tracks found, chosen or not;
    size, margin: of the crops; height, width: of the picture.
    """

    chunks: list[TrackChunk]
    ticks: int
    frame_ticks: np.ndarray
    fps: float
    seen: int
    size: int
    margin: float
    height: int
    width: int
    warnings: list[str] = field(default_factory=list)

    def by_time(self) -> list[TrackChunk]:
        """Chunks in order of time. Chosen tracks do not overlap."""
        return sorted(self.chunks, key=lambda chunk: int(chunk.ticks[0]))

    def crops(self) -> np.ndarray:
        """uint8 [n, S, S, 3] in order of time. Raises SyncLipError where no face was found."""
        if not self.chunks:
            raise SyncLipError(
                "no face was found in the video, so there are no crops. Look at the preview of Track Faces; "
                "choose another clip, or another face if boxes are drawn there."
            )
        return np.concatenate([chunk.crops for chunk in self.by_time()])

    def joined(self, name: str) -> np.ndarray:
        """A field of all chunks, [n, ...] in order of time."""
        return np.concatenate([getattr(chunk, name) for chunk in self.by_time()])

    def rows(self) -> np.ndarray:
        """int64 [ticks]: the row of `crops` that belongs to each tick, -1 where there is none."""
        rows = np.full(self.ticks, -1, np.int64)
        if self.chunks:
            ticks = self.joined("ticks")
            rows[ticks] = np.arange(len(ticks))
        return rows

    def tracks(self) -> Iterator[list[TrackChunk]]:
        """The chunks of each chosen track."""
        for track_id in dict.fromkeys(chunk.track_id for chunk in self.chunks):
            yield [chunk for chunk in self.chunks if chunk.track_id == track_id]


@dataclass(frozen=True)
class Tokens:
    """A token stream. kind: audio | vocal | identity | ambient; values: float32 [T, dim], a row a frame at 25 fps.

    mask: bool [T], speech for audio tokens, a face for the others; model: sha256 of the checkpoint that made them;
    faces: tracks seen in the video; look: float32 [T, 5] of vocal tokens, how the face looks (sync.along.look), else
    [0, 5].
    """

    kind: str
    values: np.ndarray
    mask: np.ndarray
    model: str
    faces: int = 0
    look: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.float32))


SLACK = 5  # ticks; sound decoded by itself is often padded by a codec frame


def paired(audio: Tokens, vocal: Tokens) -> tuple[Tokens, Tokens]:
    """Both streams over the same ticks. Raises SyncLipError when they cannot belong together."""
    both = together({"audio": audio, "vocal": vocal})
    return both["audio"], both["vocal"]


def together(streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Streams of one clip, by kind, over the same ticks. Raises SyncLipError when they cannot belong together."""
    for kind, tokens in streams.items():
        if tokens.kind != kind:
            raise SyncLipError(
                f"the input {kind}_tokens got {tokens.kind} tokens; connect the output {kind}_tokens of "
                f"{'Encode Audio Tokens' if kind == 'audio' else 'Encode Vocal-Motion Tokens'}."
            )
    if len({tokens.model for tokens in streams.values()}) > 1:
        raise SyncLipError(
            "the tokens come from two different checkpoints and cannot be compared; connect one Load Model node to "
            "both encoders."
        )
    lengths = [len(tokens.values) for tokens in streams.values()]
    if max(lengths) - min(lengths) > SLACK:
        times = [f"{kind}_tokens {n / FPS:.2f} s ({n} tokens)" for kind, n in zip(streams, lengths, strict=True)]
        raise SyncLipError(
            f"{', '.join(times).replace(' ', ' last ', 1)}; encode sound and picture of the same clip, or trim one of "
            "them."
        )
    length = min(lengths)
    return {
        kind: replace(tokens, values=tokens.values[:length], mask=tokens.mask[:length], look=tokens.look[:length])
        for kind, tokens in streams.items()
    }
