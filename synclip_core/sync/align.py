"""Repairing a lag: the audio moves, the video's packets are copied as they are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from ..clock import TICK_RATE
from ..errors import SyncLipError, describe
from ..files.atomic import AtomicFile, close_quietly, write_error
from ..media.audio import NativeReader
from ..media.container import MEDIA_ERRORS, MOV_OPTIONS, PathLike, find_video, open_input
from ..media.encode import AudioEncoder, encoder_for
from ..media.span import video_span

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@dataclass
class AlignReport:
    """What `write_aligned` did. delay_s: seconds by which the audio was moved to later; notes: what was not kept."""

    path: Path
    delay_s: float
    notes: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What was done, as a person says it."""
        if not self.delay_s:
            return "audio not moved, video untouched"
        side = "later" if self.delay_s > 0 else "earlier"
        return f"audio moved {abs(round(self.delay_s * 1000))} ms {side}, video untouched"


def write_aligned(src: PathLike, dst: PathLike, lag_frames: float, *, audio: str = "encode") -> AlignReport:
    """Write `src` to `dst` with its lag repaired: the audio is delayed by lag_frames * 40 ms.

    lag_frames: as measured, at 25 fps, positive when the video lags the audio (the audio is early, so it is delayed);
    a fraction of a frame is honoured. All audio tracks move alike.
    audio="encode": the audio is decoded, moved, padded with silence or cut to the video's length, and encoded with its
    own codec family, rate and channels, so the repair survives tools that ignore start times.
    audio="copy": the audio's packets are copied too and only their time stamps move, without any loss.
    Video packets and their times are identical to the source's. Subtitles, cover art, chapters, metadata and data are
    kept where the container of `dst` takes them; `notes` says what it did not take.
    Works for mp4, mov, mkv, webm, and other containers that FFmpeg writes. Raises SyncLipError where there is no video
    or audio, the lag exceeds the clip, or `dst` cannot be written; nothing half-written stays behind.
    """
    if audio not in ("encode", "copy"):
        raise SyncLipError(f"audio={audio!r}: expected 'encode' or 'copy'.")
    if not np.isfinite(lag_frames):
        raise SyncLipError(f"lag_frames={lag_frames}: expected a number of frames at 25 fps.")
    delay = Fraction(lag_frames).limit_denominator(10_000) / TICK_RATE
    source, target = Path(src), Path(dst)
    span = video_span(source)
    if abs(delay) >= span.duration:
        raise SyncLipError(
            f"{source}: a lag of {float(delay) * 1000:.0f} ms does not fit a clip of {float(span.duration):.2f} s."
        )
    with open_input(source) as container:
        if not container.streams.audio:
            raise SyncLipError(f"{source}: has no audio track, so there is nothing to align.")
    if target.exists() and source.samefile(target):
        raise SyncLipError(f"{target}: is the input itself. Choose another name for the output.")

    with AtomicFile(target) as file:
        # Some containers refuse a stream only when the header is written: then try again with fewer extras.
        for extras in (("subtitle", "data", "attachment"), ("subtitle", "attachment"), ()):
            report = AlignReport(target, float(delay))
            job = _Remux(source, file.temporary, target, delay, span.start, audio == "copy", extras, report.notes)
            try:
                job.run()
                return report
            except _HeaderRefused as error:
                refusal = error
        raise SyncLipError(
            f"{target}: its container does not take the video of {source} ({refusal}). Use the ending {source.suffix}."
        )


class _HeaderRefused(Exception):
    """The muxer did not accept the set of streams."""


class _Track:
    """One audio track on its way: blocks decoded with the delay, encoded in step with the video."""

    def __init__(self, reader: NativeReader, encoder: AudioEncoder) -> None:
        self.encoder = encoder
        self.rate = reader.rate
        self.sent = 0
        self._blocks = iter(reader)

    def until(self, time: Fraction) -> "Iterator[Packet]":
        """Packets that bring the audio up to `time` [s since t = 0], to the next block's end."""
        while self.sent < time * self.rate:
            block = next(self._blocks, None)
            if block is None:
                return
            self.sent += block.shape[1]
            yield from self.encoder.encode(block)

    def rest(self) -> "Iterator[Packet]":
        for block in self._blocks:
            yield from self.encoder.encode(block)
        yield from self.encoder.finish()


class _Remux:
    """One attempt at writing the file."""

    def __init__(
        self,
        source: Path,
        temporary: Path,
        target: Path,
        delay: Fraction,
        start: Fraction,
        copy: bool,
        extras: tuple[str, ...],
        notes: list[str],
    ) -> None:
        self.source, self.temporary, self.target = source, temporary, target
        self.delay, self.start, self.copy, self.extras, self.notes = delay, start, copy, extras, notes
        self.copied: dict[int, Stream] = {}  # source index -> output stream
        self.tracks: list[_Track] = []

    def run(self) -> None:
        with open_input(self.source) as container:
            out = self._open()
            try:
                self._add_streams(container, out)
                try:
                    out.start_encoding()
                except MEDIA_ERRORS as error:
                    if getattr(error, "errno", None) in (1, 13, 27, 28, 30, 122):  # the disk, not the streams
                        raise write_error(self.target, error) from error
                    raise _HeaderRefused(describe(error)) from error
                try:
                    self._copy_packets(container, out)
                    out.close()
                except MEDIA_ERRORS as error:
                    raise write_error(self.target, error) from error
            except BaseException:
                close_quietly(out.close)
                raise

    def _open(self) -> "OutputContainer":
        suffix = self.target.suffix.lower()
        try:
            options = MOV_OPTIONS if suffix in (".mp4", ".m4v", ".mov") else {}
            return av.open(str(self.temporary), "w", format=_MUXERS.get(suffix), container_options=options)
        except MEDIA_ERRORS as error:
            raise SyncLipError(
                f"{self.target}: cannot write a file that ends in {suffix!r}; expected {', '.join(_MUXERS)}."
            ) from error

    def _add_streams(self, container: "InputContainer", out: "OutputContainer") -> None:
        out.metadata.update(container.metadata)
        main = find_video(container)
        number = -1
        for stream in container.streams:
            if stream.type == "audio":
                number += 1
                if not self.copy and self._add_encoded(stream, number, out):
                    continue
                self._add_copy(stream, out, needed=self.copy)
            elif main is not None and stream.index == main.index:
                self._add_copy(stream, out, needed=True)
            elif stream.type == "video" or stream.type in self.extras:
                self._add_copy(stream, out, needed=False)
            else:
                self.notes.append(f"stream {stream.index} ({stream.type}) is not kept: the container does not take it")
        if hasattr(out, "set_chapters") and container.chapters():  # PyAV 15
            out.set_chapters(container.chapters())

    def _add_copy(self, stream: "Stream", out: "OutputContainer", needed: bool) -> None:
        try:
            made = out.add_stream_from_template(stream, opaque=True)
        except MEDIA_ERRORS as error:
            if needed:
                raise SyncLipError(
                    f"{self.target}: its container cannot hold the {stream.type} of {self.source} "
                    f"({describe(error)}). Use the ending {self.source.suffix}."
                ) from error
            self.notes.append(f"stream {stream.index} ({stream.type}) is not kept: {describe(error)}")
            return
        _copy_labels(stream, made)
        self.copied[stream.index] = made

    def _add_encoded(self, stream: "Stream", number: int, out: "OutputContainer") -> bool:
        """Set up the re-encoding of audio track `number`; False where it cannot be decoded."""
        try:
            reader = NativeReader(self.source, number, delay=self.delay)
        except SyncLipError as error:
            if number == 0:
                raise
            self.notes.append(f"audio track {number} is moved but not re-encoded: {error}")
            return False
        codec = encoder_for(stream.codec_context.name, out.format.name)
        bits = getattr(stream, "bit_rate", None)
        encoder = AudioEncoder(out, codec, reader.rate, reader.layout, self.start, bits)
        _copy_labels(stream, encoder.stream)
        self.tracks.append(_Track(reader, encoder))
        return True

    def _copy_packets(self, container: "InputContainer", out: "OutputContainer") -> None:
        wanted = [s for s in container.streams if s.index in self.copied and s.type != "attachment"]
        for packet in container.demux(*wanted):
            source = packet.stream
            if packet.dts is None and packet.pts is None and not packet.size:
                continue  # PyAV's flush packets
            if source.type == "audio" and self.delay and packet.time_base:
                move = round(self.delay / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + move
                packet.dts = None if packet.dts is None else packet.dts + move
            if source.type == "video" and packet.dts is not None and packet.time_base:
                for track in self.tracks:
                    out.mux(list(track.until(packet.dts * packet.time_base - self.start + 1)))
            packet.stream = self.copied[source.index]
            out.mux(packet)
        for track in self.tracks:
            out.mux(list(track.rest()))


def _copy_labels(source: "Stream", made: "Stream") -> None:
    """Language, title and the like, and whether the stream is the default one, a cover, forced, ..."""
    made.metadata.update(source.metadata)
    made.disposition = source.disposition.value  # type: ignore[assignment]
