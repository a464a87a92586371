"""Frames of a video, streamed: all of them, or those that the 25 fps ticks show.

Decoding is threaded and holds only the decoder's own frames and two more. Conversion to RGB happens for frames that are
handed out, so a 60 fps file costs 25 conversions a second.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clock import TICK_RATE, Times, tick_count
from ..errors import SyncLipError
from .container import PathLike, decoded, open_video
from .picture import PictureReader
from .span import video_span

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One frame as displayed. index: its number among the decoded frames; time_s: since the first frame.

    image: uint8 [H, W, 3], RGB; from a reader of `parts`, a PicturePart where the picture can be read in parts.
    """

    index: int
    time_s: float
    image: np.ndarray


class FrameMap:
    """Which source frame each tick shows, and when each source frame is shown. Grows while frames are read."""

    def __init__(self, fps: Fraction) -> None:
        self.fps = fps
        self._times: list[float] = []
        self._frames: list[int] = []

    @property
    def times(self) -> np.ndarray:
        """float64 [frames]: presentation time of each source frame [s]."""
        return np.array(self._times, dtype=np.float64)

    @property
    def frames(self) -> np.ndarray:
        """int64 [ticks]: source frame that each tick shows."""
        return np.array(self._frames, dtype=np.int64)

    @property
    def ticks(self) -> np.ndarray:
        """int64 [frames]: the tick nearest in time to each source frame (tie: the earlier)."""
        nearest = np.ceil(self.times * float(self.fps) - 0.5 - 1e-9).astype(np.int64)
        return np.clip(nearest, 0, max(0, len(self._frames) - 1))

    def __len__(self) -> int:
        return len(self._frames)


class _Held:
    """A decoded frame that is converted when it is first shown."""

    def __init__(self, index: int, time: Fraction, frame: "VideoFrame", reader: PictureReader, parts: bool) -> None:
        self.index = index
        self.time = time
        self._frame: VideoFrame | None = frame
        self._reader, self._parts = reader, parts
        self._shown: SourceFrame | None = None

    def shown(self) -> SourceFrame:
        if self._shown is None:
            assert self._frame is not None
            image: Any = self._reader.in_parts(self._frame) if self._parts else None
            image = self._reader(self._frame) if image is None else image
            self._shown = SourceFrame(self.index, float(self.time), image)
            self._frame = None
        return self._shown


class _Decoder:
    """The frames of one video in presentation order with their times; counts what was lost."""

    def __init__(self, path: PathLike, max_side: int | None, parts: bool = False) -> None:
        self.path, self.parts = path, parts
        self.span = video_span(path)
        self.skipped = 0
        self.warnings: list[str] = []
        self.duration = Fraction(0)
        self._pictures = PictureReader(self.span.shape.within(max_side))

    def _lost(self, reason: str) -> None:
        self.skipped += 1
        if len(self.warnings) < 10 and reason not in self.warnings:
            self.warnings.append(reason)

    def __iter__(self) -> Iterator[_Held]:
        span = self.span
        times = Times(span.start, span.nominal)
        container, stream = open_video(self.path)
        index = 0
        with container:
            base = stream.time_base
            for frame in decoded(container, stream, self._lost):
                stamp = frame.pts if frame.pts is not None else frame.dts
                time = times.place(None if stamp is None or base is None else stamp * base)
                yield _Held(index, time, frame, self._pictures, self.parts)  # type: ignore[arg-type]
                index += 1
        if times.last is None:
            reason = f" ({self.warnings[0]})" if self.warnings else ""
            raise SyncLipError(f"{self.path}: no picture of its video could be decoded{reason}.")
        complete = times.last >= span.last
        self.duration = span.duration if times.last == span.last else times.last + min(span.frame_s, Fraction(1))
        if not complete:
            self.warnings.append(
                f"the last picture that decodes is at {float(times.last):.2f} s, the file says {float(span.last):.2f} s"
            )
        if times.jumps:
            self.warnings.append(f"the time stamps jump {times.jumps} times; the pictures were joined without a pause")


class FrameReader(Iterator[SourceFrame]):
    """Iterator over all frames. `warnings` (sentences) and `skipped` (packets lost) are complete at its end."""

    def __init__(self, path: PathLike, max_side: int | None = None) -> None:
        self._decoder = _Decoder(path, max_side)
        self._frames = self._run()

    def _run(self) -> Iterator[SourceFrame]:
        for held in self._decoder:
            yield held.shown()

    def __next__(self) -> SourceFrame:
        return next(self._frames)

    @property
    def warnings(self) -> list[str]:
        return self._decoder.warnings

    @property
    def skipped(self) -> int:
        return self._decoder.skipped

    def close(self) -> None:
        """Release the file before the end of the iteration."""
        self._frames.close()  # type: ignore[attr-defined]


class TickReader(Iterator[tuple[int, SourceFrame]]):
    """Iterator over (tick, frame). `map` grows along; `warnings` and `skipped` are complete at its end.

    `expected` is the number of ticks that the file announces; a damaged file may yield fewer. parts: pictures become
    RGB where they are looked at (picture.PicturePart), for who looks at a part of them.
    """

    def __init__(
        self, path: PathLike, fps: Fraction | float = TICK_RATE, max_side: int | None = None, parts: bool = False
    ) -> None:
        rate = Fraction(fps).limit_denominator(100_000)
        if not 1 <= rate <= 240:
            raise SyncLipError(f"fps={fps}: ticks run at 1 to 240 a second.")
        self._decoder = _Decoder(path, max_side, parts)
        self.map = FrameMap(rate)
        self.expected = tick_count(self._decoder.span.duration, rate)
        self._ticks = self._run(rate)

    def _run(self, rate: Fraction) -> Iterator[tuple[int, SourceFrame]]:
        tick = 0
        before: _Held | None = None
        # Ticks whose frame is known but which exist only if the video lasts long enough (at most one or two).
        pending: deque[tuple[int, _Held]] = deque()
        for held in self._decoder:
            self.map._times.append(float(held.time))
            if before is None:
                before = held
                continue
            if held.time == before.time:
                continue  # never the nearest: a tie goes to the earlier frame
            middle = (before.time + held.time) * rate / 2
            while tick <= middle:
                pending.append((tick, before))
                tick += 1
            sure = tick_count(held.time, rate)
            while pending and pending[0][0] < sure:
                yield self._emit(*pending.popleft())
            before = held
        assert before is not None  # the decoder raises where nothing decodes
        count = tick_count(self._decoder.duration, rate)
        for number, held in pending:
            if number < count:
                yield self._emit(number, held)
        for number in range(tick, count):
            yield self._emit(number, before)

    def _emit(self, tick: int, held: _Held) -> tuple[int, SourceFrame]:
        self.map._frames.append(held.index)
        return tick, held.shown()

    def __next__(self) -> tuple[int, SourceFrame]:
        return next(self._ticks)

    @property
    def warnings(self) -> list[str]:
        return self._decoder.warnings

    @property
    def skipped(self) -> int:
        return self._decoder.skipped

    def close(self) -> None:
        """Release the file before the end of the iteration."""
        self._ticks.close()  # type: ignore[attr-defined]


def iter_frames(path: PathLike, *, max_side: int | None = None) -> FrameReader:
    """All frames in presentation order, RGB, in display orientation.

    max_side: reduce pictures so that their longer side is at most this many pixels.
    Frames with equal time stamps are all yielded; a stream that changes size is scaled to its first frame's size.
    Raises SyncLipError where there is no video or nothing of it decodes. A damaged file yields what decodes, with
    `warnings` on the reader.
    """
    return FrameReader(path, max_side)


def iter_ticks(path: PathLike, *, fps: Fraction | float = TICK_RATE, max_side: int | None = None) -> TickReader:
    """(tick, frame) for tick = 0 .. n-1: the frame nearest in time to tick / fps (tie: the earlier).

    n = max(1, round(duration * fps)). A frame that several ticks show is the same object. Errors as `iter_frames`.
    """
    return TickReader(path, fps, max_side)
