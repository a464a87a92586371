"""Where a video begins and ends on its own clock, read from packets (only the first frame is decoded)."""

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from ..clock import MAX_GAP_S, MAX_LAST_S, RESET_S, Times, tick_count
from ..errors import SyncLipError
from .container import MEDIA_ERRORS, PathLike, check_size, existing_file, open_video, packets
from .picture import PictureShape, has_alpha, picture_shape

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
    frames: packets that show a picture. steady: they come at one rate, none missing.
    """

    start: Fraction
    last: Fraction
    duration: Fraction
    frame_s: Fraction
    nominal: Fraction
    frames: int
    steady: bool
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
    seen: list[_Stamps] = []
    errors: list[str] = []
    with container:
        for packet in packets(container, stream, errors.append):
            if first is None:
                first = _decode_first(stream, packet, errors)
            if not packet.is_discard:
                seen.append(_stamps(packet))
        if first is None:
            first = _decode_first(stream, None, errors)
        if first is None:
            reason = f": {errors[0]}" if errors else ""
            raise SyncLipError(f"{path}: no picture of its video could be decoded{reason}. The file is damaged.")
        check_size(path, first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
        guess = 1 / Fraction(rate) if rate and Fraction(1, 10) <= rate <= 1000 else Fraction(1, 25)
        stamp = first.pts if first.pts is not None else first.dts
        base = stream.time_base or Fraction(1, 1_000_000)
        start = Fraction(0) if stamp is None else stamp * base
        shape = picture_shape(first, stream.sample_aspect_ratio)
        check_size(path, *shape.display)
        last, duration, frame_s, frames = _extent(seen, base, start, guess)
        steady = _is_steady(seen, base, frame_s)
        depth = max((c.bits for c in first.format.components), default=8)
        alpha = has_alpha(first)
        return VideoSpan(start, last, duration, frame_s, guess, frames, steady, shape, first.format.name, depth, alpha)


def _decode_first(stream: "VideoStream", packet: "Packet | None", errors: list[str]) -> "VideoFrame | None":
    try:
        frames = stream.codec_context.decode(packet)
    except MEDIA_ERRORS as error:
        errors.append(str(error))
        return None
    return frames[0] if frames else None


_Stamps = tuple[int | None, int | None, int]  # decoding order, presentation, duration, in time-base units


def _stamps(packet: "Packet") -> _Stamps:
    show = packet.pts if packet.pts is not None else packet.dts
    order = packet.dts if packet.dts is not None else packet.pts
    return order, show, packet.duration or 0


def _extent(
    seen: list[_Stamps], base: Fraction, start: Fraction, nominal: Fraction
) -> tuple[Fraction, Fraction, Fraction, int]:
    """(last, duration, frame_s, frames) from the stamps of all packets in decoding order."""
    back, ahead = -RESET_S / base, MAX_GAP_S / base
    runs: list[list[tuple[int | None, int]]] = [[]]  # each between two jumps of the clock
    before: int | None = None
    for order, show, length in seen:
        if order is not None:
            if before is not None and not back <= order - before <= ahead:
                runs.append([])
            before = order
        runs[-1].append((show, length))
    # What comes before the first picture that decodes is never shown.
    runs[0] = [item for item in runs[0] if item[0] is None or item[0] * base >= start]

    times = Times(start, nominal)
    first: Fraction | None = None
    final = Fraction(0)
    length = count = 0
    for run in runs:
        run.sort(key=lambda item: -1 if item[0] is None else item[0])
        for number, (show, _) in enumerate(run):
            final = times.place(None if show is None else show * base)
            first = final if first is None else first
            if show is not None and number == 0:  # a run without missing stamps: only its ends matter
                final = times.last = max(final, (run[-1][0] or 0) * base - times.start)
                break
        count += len(run)
        length = run[-1][1] if run else length
    first = first or Fraction(0)
    frame_s = (final - first) / (count - 1) if count > 1 and final > first else nominal
    shown = length * base
    if not 0 < shown <= MAX_LAST_S:
        shown = min(frame_s, Fraction(MAX_LAST_S))
    return final, final + shown, frame_s, max(1, count)


def _is_steady(seen: list[_Stamps], base: Fraction, frame_s: Fraction) -> bool:
    """No frame lies further than a third of a frame from its place at the mean rate. Missing stamps are no news."""
    shows = sorted(show for _, show, _ in seen if show is not None)
    return all(abs((show - shows[0]) * base - i * frame_s) <= frame_s / 3 for i, show in enumerate(shows))
