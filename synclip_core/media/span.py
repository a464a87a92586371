"""Where a video begins and ends on its own clock, read from packets (only the first frame is decoded)."""

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import SyncLipError
from .container import MEDIA_ERRORS, PathLike, check_size, existing_file, open_video, packets
from .picture import PictureShape, has_alpha, picture_shape
from .timing import MAX_GAP_S, MAX_LAST_S, RESET_S, Times, tick_count

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class VideoSpan:
    """The extent of a video track.

    start: time stamp of the first frame that decodes, in the file's clock [s]; this is t = 0.
    last: presentation time of the last frame [s since start]; duration: `last` plus how long that frame is shown.
    frame_s: mean distance of two frames; nominal: the same as the file's header has it, used where stamps are missing.
    frames: packets that show a picture.
    """

    start: Fraction
    last: Fraction
    duration: Fraction
    frame_s: Fraction
    nominal: Fraction
    frames: int
    shape: PictureShape
    pixel_format: str
    bit_depth: int
    alpha: bool

    @property
    def ticks(self) -> int:
        return tick_count(self.duration)


def video_span(path: PathLike) -> VideoSpan:
    """The span of the video in `path`. Raises SyncLipError where there is no video or no frame of it decodes.

    Reads the whole file once (no decoding), and remembers the answer while the file does not change.
    """
    file = existing_file(path)
    stat = file.stat()
    return _video_span(os.path.abspath(file), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _video_span(path: str, mtime: int, size: int) -> VideoSpan:
    # One thread: with more, the first frame appears only after as many packets more.
    container, stream = open_video(path, threads=1)
    first: VideoFrame | None = None
    seen: list[tuple[Fraction | None, Fraction | None, Fraction | None]] = []  # decode time, show time, duration
    errors: list[str] = []
    with container:
        for packet in packets(container, stream, errors.append):
            if first is None:
                first = _decode_first(stream, packet, errors)
            if not packet.is_discard:
                seen.append(_stamps(packet, stream))
        if first is None:
            first = _decode_first(stream, None, errors)
        if first is None:
            reason = f": {errors[0]}" if errors else ""
            raise SyncLipError(f"{path}: no picture of its video could be decoded{reason}. The file is damaged.")
        check_size(path, first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
        guess = 1 / Fraction(rate) if rate and Fraction(1, 10) <= rate <= 1000 else Fraction(1, 25)
        stamp = first.pts if first.pts is not None else first.dts
        start = Fraction(0) if stamp is None or stream.time_base is None else stamp * stream.time_base
        shape = picture_shape(first, stream.sample_aspect_ratio)
        check_size(path, *shape.display)
        last, duration, frame_s, frames = _extent(seen, start, guess)
        depth = max((c.bits for c in first.format.components), default=8)
        alpha = has_alpha(first)
        return VideoSpan(start, last, duration, frame_s, guess, frames, shape, first.format.name, depth, alpha)


def _decode_first(stream: "VideoStream", packet: "Packet | None", errors: list[str]) -> "VideoFrame | None":
    try:
        frames = stream.codec_context.decode(packet)
    except MEDIA_ERRORS as error:
        errors.append(str(error))
        return None
    return frames[0] if frames else None


def _stamps(packet: "Packet", stream: "VideoStream") -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    base = stream.time_base
    if base is None:
        return None, None, None
    show = packet.pts if packet.pts is not None else packet.dts
    order = packet.dts if packet.dts is not None else packet.pts
    return (
        None if order is None else order * base,
        None if show is None else show * base,
        packet.duration * base if packet.duration else None,
    )


def _extent(
    seen: list[tuple[Fraction | None, Fraction | None, Fraction | None]], start: Fraction, guess: Fraction
) -> tuple[Fraction, Fraction, Fraction, int]:
    """(last, duration, frame_s, frames) from the stamps of all packets in decoding order."""
    runs: list[list[tuple[Fraction | None, Fraction | None]]] = [[]]  # each between two jumps of the clock
    before: Fraction | None = None
    for order, show, length in seen:
        if order is not None:
            if before is not None and not before - RESET_S <= order <= before + MAX_GAP_S:
                runs.append([])
            before = order
        runs[-1].append((show, length))
    # What comes before the first picture that decodes is never shown.
    runs[0] = [item for item in runs[0] if item[0] is None or item[0] >= start]

    times = Times(start, guess)
    first = final = Fraction(0)
    shown = guess
    count = 0
    for run in runs:
        for show, length in sorted(run, key=lambda item: (item[0] is not None, item[0] or 0)):
            final = times.place(show)
            first = final if count == 0 else first
            shown = length if length is not None and 0 < length <= MAX_LAST_S else Fraction(0)
            count += 1
    frame_s = (final - first) / (count - 1) if count > 1 and final > first else guess
    if shown == 0:
        shown = min(frame_s, Fraction(MAX_LAST_S))
    return final, final + shown, frame_s, max(1, count)
