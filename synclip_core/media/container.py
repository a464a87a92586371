"""Opening a media file: one door for all readers, with its limits and its errors.

Limits (a mutated header can claim anything; these are refused before a buffer of that size exists):
- a picture holds at most `MAX_PIXELS` pixels (8192 x 4608, so every 8K format passes);
- audio has at most `MAX_CHANNELS` channels and a rate within `AUDIO_RATES`.
Only local files are read: a playlist inside a file cannot make FFmpeg reach the network.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.container
import av.error
import av.stream
from av.stream import Disposition

from ..errors import SyncLipError, describe
from ..files.atomic import PathLike

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_PIXELS = 8192 * 4608
MAX_CHANNELS = 64
AUDIO_RATES = (1_000, 768_000)

# For MP4 and MOV: the index in front, for players that stream; start offsets exact to 4 us instead of 1 ms.
MOV_OPTIONS = {"movflags": "+faststart", "movie_timescale": "240000"}

# What PyAV raises for bad data: FFmpegError and, for impossible values, plain Python errors.
MEDIA_ERRORS = (av.error.FFmpegError, ValueError, OSError, MemoryError, OverflowError)

_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails


def existing_file(path: PathLike) -> Path:
    """The path as `Path`; SyncLipError where it is missing, a folder, or empty."""
    try:
        file = Path(path)
        if not file.exists():
            raise SyncLipError(f"{file}: no such file. Check the path and its spelling.")
        if file.is_dir():
            raise SyncLipError(f"{file}: is a folder, expected a media file.")
        if file.is_file() and file.stat().st_size == 0:
            raise SyncLipError(f"{file}: is empty (0 bytes), expected a media file. Copy or download it again.")
    except (OSError, ValueError) as error:
        raise SyncLipError(f"{path!r}: cannot be read ({describe(error)}).") from error
    return file


def open_input(path: PathLike) -> "InputContainer":
    """Open a local media file for reading. Raises SyncLipError when FFmpeg cannot read it as one."""
    file = existing_file(path)
    try:
        # The "file:" prefix keeps a name such as "a:b.mp4" or "concat:x" from being read as a protocol.
        return av.open(
            f"file:{os.path.abspath(file)}",
            mode="r",
            metadata_errors="replace",
            options={"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)},
        )
    except av.error.PermissionError as error:
        raise SyncLipError(f"{file}: no permission to read it.") from error
    except MEDIA_ERRORS as error:
        raise SyncLipError(
            f"{file}: not a readable media file ({describe(error)}). Expected a video or audio file that FFmpeg can "
            "open; a file cut off while it was written or downloaded often ends up like this: fetch it again."
        ) from error


def find_video(container: "InputContainer") -> "VideoStream | None":
    """The video stream a player would show, or None. Cover art and thumbnails do not count."""
    streams = [s for s in container.streams.video if not s.disposition & _STILLS]
    for stream in streams:
        if stream.disposition & Disposition.default:
            return stream
    return streams[0] if streams else None


def open_video(path: PathLike, threads: int | None = None) -> "tuple[InputContainer, VideoStream]":
    """The container and its video stream, ready to decode; other streams are not read.

    threads: decoder threads, None = up to 4 (2 above 4K, where each thread holds a frame of 50 MB and more).
    Raises SyncLipError where there is no video, no decoder for it, or the picture exceeds `MAX_PIXELS`.
    """
    container = open_input(path)
    try:
        stream = find_video(container)
        if stream is None:
            raise SyncLipError(f"{path}: has no video track (cover art does not count). A video of a face is needed.")
        context = stream.codec_context
        if context is None:
            raise SyncLipError(f"{path}: no decoder for its video codec. Convert it, for example to H.264.")
        check_size(path, context.width, context.height)
        large = context.width * context.height > 4096 * 2304
        context.thread_count = threads or min(2 if large else 4, os.cpu_count() or 1)
        context.thread_type = "AUTO"
        context.options = {"max_pixels": str(MAX_PIXELS)}
        read_only(container, stream.index)
        return container, stream
    except BaseException:
        container.close()
        raise


def open_audio(path: PathLike, track: int = 0) -> "tuple[InputContainer, AudioStream]":
    """The container and its audio track number `track` (from 0), ready to decode; other streams are not read.

    Raises SyncLipError where there is no audio, no such track, no decoder, or the format exceeds the limits.
    """
    container = open_input(path)
    try:
        tracks = container.streams.audio
        if not tracks:
            raise SyncLipError(f"{path}: has no audio track. Sync needs the voice in the file.")
        if not 0 <= track < len(tracks):
            raise SyncLipError(f"{path}: audio track {track} asked for, but it has 0..{len(tracks) - 1}.")
        stream = tracks[track]
        context = stream.codec_context
        if context is None:
            raise SyncLipError(f"{path}: no decoder for audio track {track}. Convert it, for example to AAC.")
        read_only(container, stream.index)
        return container, stream
    except BaseException:
        container.close()
        raise


def read_only(container: "InputContainer", index: int) -> None:
    """Have the demuxer drop every stream but one, so that it need not read them."""
    if hasattr(av.stream, "Discard"):  # PyAV 18; before, packets() filters what was read
        for other in container.streams:
            if other.index != index:
                other.discard = av.stream.Discard.all


def check_size(path: PathLike, width: int, height: int) -> None:
    """SyncLipError for a picture over `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise SyncLipError(
            f"{path}: its picture is {width}x{height}, the limit is {MAX_PIXELS} pixels (8192x4608). "
            "If that is the true size, scale it down first; otherwise the file is damaged."
        )


def check_audio(path: PathLike, rate: int, channels: int) -> None:
    """SyncLipError for an audio format outside the limits."""
    low, high = AUDIO_RATES
    if not (low <= rate <= high and 1 <= channels <= MAX_CHANNELS):
        raise SyncLipError(
            f"{path}: its audio says {rate} Hz and {channels} channels; expected {low}..{high} Hz and "
            f"1..{MAX_CHANNELS} channels. The file is probably damaged."
        )


def packets(
    container: "InputContainer", stream: "VideoStream | AudioStream", lost: Callable[[str], None]
) -> "Iterator[Packet]":
    """Packets of one stream up to the end or to the first read error, which is reported to `lost`.

    Empty packets are dropped: a decoder would take one for the end of the stream.
    """
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except MEDIA_ERRORS as error:
        lost(f"reading stopped early ({describe(error)})")


def decoded(
    container: "InputContainer", stream: "VideoStream | AudioStream", lost: Callable[[str], None]
) -> "Iterator[VideoFrame | AudioFrame]":
    """Decoded frames of one stream. A packet that fails is reported to `lost` and skipped."""
    for packet in packets(container, stream, lost):
        try:
            frames = packet.decode()
        except MEDIA_ERRORS as error:
            lost(f"a packet could not be decoded ({describe(error)})")
            continue
        yield from frames
    try:
        yield from stream.codec_context.decode(None)
    except MEDIA_ERRORS as error:
        lost(f"the last packets could not be decoded ({describe(error)})")
