"""The whole of a dub: frames in, crops out part by part, what was made of them pasted back, the new sound beside it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import SyncLipError
from ..faces.crop import crop_face
from ..faces.paste import paste_face
from ..media.audio import NativeAudio
from ..media.info import probe
from ..media.video import SourceFrame, iter_frames
from ..media.writer import VideoWriter
from .face import FacePath
from .finish import EASED, EASED_FRESH, ease_join, match_colours, paste_masks
from .parts import Part, parts_of
from .store import PartStore

SQUARE_FEATHER = 0.05  # of the crop's own border; the mask ends long before it


class Painter(Protocol):
    """Makes the lower face anew."""

    def __call__(self, crops: np.ndarray, part: Part, identity: np.ndarray, history: np.ndarray | None) -> np.ndarray:
        """crops: uint8 [part.frames, S, S, 3] of the source; identity: uint8 [S, S, 3]; history: the last frame of the
        part before as it was made, or None. Returns uint8 [part.frames, S, S, 3]."""


@dataclass
class DubOptions:
    """match: bring colours to the source's; guessed: also where the face's place is a guess; crf: H.264 quality;
    identity: uint8 [S, S, 3] instead of the video's own picture; audio: samples for the result, None for the source's
    own sound; refresh: parts after which one is made without the continuity reference, 0 for never. A model that goes
    on from its own work adds to what is wrong in it; how long that goes well is its property (AudioPack metadata).
    """

    match: bool = True
    guessed: bool = False
    crf: int = 17
    identity: np.ndarray | None = None
    audio: NativeAudio | None = None
    refresh: int = 0


def dub(
    source: str | Path,
    target: str | Path,
    face: FacePath,
    paint: Painter,
    options: DubOptions | None = None,
    store: PartStore | None = None,
    watch: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
) -> list[Part]:
    """Write `target`: as many frames as `source`, at its times. Returns the parts that were made.

    store: finished parts are kept there and taken from there. watch(frame, before, after) sees every frame that is
    written and may raise to stop. Raises SyncLipError where no face was found at all, or where a file cannot be read or
    written.
    """
    options = options or DubOptions()
    parts = parts_of(face.track if options.guessed else np.where(face.seen, face.track, -1))
    if not parts:
        raise SyncLipError(
            f"{source}: no face was found, so there is nothing to dub; choose another clip, or another face if there "
            "are several"
        )
    info = probe(source)
    frames = iter_frames(source)
    sound = {"audio": options.audio} if options.audio is not None else {"audio_from": source}
    writer = VideoWriter(
        target, face.width, face.height, info.frame_rate, crf=options.crf, variable=info.variable, **sound
    )
    work = Work(face, parts, paint, options, store)
    try:
        with writer:
            for frame in frames:
                for before, after in work.take(frame):
                    writer.write(after, before.time_s if info.variable else None)
                    if watch is not None:
                        watch(before.index, before.image, after)
    finally:
        frames.close()
    if store is not None:
        store.clear()
    return parts


class Work:
    """Frames wait until the part that they belong to is made: those of one part, and their crops, are in memory."""

    def __init__(
        self, face: FacePath, parts: list[Part], paint: Painter, options: DubOptions, store: PartStore | None
    ) -> None:
        self.face, self.parts, self.paint, self.options, self.store = face, parts, paint, options, store
        self.part_of = np.full(len(face), -1, np.int64)
        for number, part in enumerate(parts):
            self.part_of[part.first : part.end] = number
        self.made = 0  # parts
        self.cut: dict[int, np.ndarray] = {}  # tick -> crop of the source
        self.painted: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # tick -> crop as made, mask
        self.waiting: deque[SourceFrame] = deque()
        self.last: np.ndarray | None = None  # the last crop that was made
        self.chain = 0  # parts since one was made without a continuity reference, that one included

    def take(self, frame: SourceFrame) -> Iterator[tuple[SourceFrame, np.ndarray]]:
        """The next frame of the file. Yields those that are ready, in order, as they were and as they are now."""
        face = self.face
        for tick in np.flatnonzero(face.shown == frame.index).tolist():
            if self.part_of[tick] >= 0:
                self.cut[tick] = crop_face(frame.image, face.transforms[tick], face.size, face.margin)
        self.waiting.append(frame)
        while self.made < len(self.parts) and self.parts[self.made].end - 1 in self.cut:
            self._make(self.parts[self.made])
            self.made += 1
        while self.waiting:
            tick = int(face.ticks[min(self.waiting[0].index, len(face.ticks) - 1)])
            if self.part_of[tick] >= self.made:
                return
            for old in [t for t in self.painted if t < tick - 1]:
                del self.painted[old]
            first = self.waiting.popleft()
            yield first, self._pasted(first.image, tick)

    def _make(self, part: Part) -> None:
        face, options = self.face, self.options
        crops = np.stack([self.cut.pop(tick) for tick in range(part.first, part.end)])
        made = self.store.load(part) if self.store is not None else None
        goes_on = part.continues and not (options.refresh and self.chain >= options.refresh)
        self.chain = self.chain + 1 if goes_on else 1
        history = self.last if goes_on else None
        if made is None:
            identity = face.pictures[part.track] if options.identity is None else options.identity
            made = self.paint(crops, part, identity, history)
            if options.match:
                made = match_colours(made, crops, face.margin)
            if part.continues and self.last is not None:
                made = ease_join(made, self.last, EASED if goes_on else EASED_FRESH)
            if self.store is not None:
                self.store.save(part, made)
        self.last = made[-1]
        ticks = slice(part.first, part.end)
        masks = paste_masks(face.landmarks[ticks], face.transforms[ticks], face.size, face.margin)
        self.painted |= {part.first + k: (made[k], masks[k]) for k in range(part.frames)}

    def _pasted(self, image: np.ndarray, tick: int) -> np.ndarray:
        if tick not in self.painted:
            return image
        crop, mask = self.painted[tick]
        return paste_face(image, crop, self.face.transforms[tick], self.face.margin, SQUARE_FEATHER, mask)
