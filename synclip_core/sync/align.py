"""Repairing a lag: the audio moves, the video's packets are copied as they are."""

from collections.abc import Collection, Iterator, Sequence
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
from ..media.container import MEDIA_ERRORS, MOV_OPTIONS, PathLike, find_video, open_input
from ..media.encode import AudioEncoder, encoder_for
from ..media.pieces import Move, at_least, at_speed, moved_apart
from ..media.sound import Sound
from ..media.span import VideoSpan, video_span

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

_LEAD_S = Fraction(1, 10)  # sound that begins this much before the first picture is meant to
_SILENCE = 0.001  # -60 dB
_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@dataclass
class AlignReport:
    """What `write_aligned` did. delay_s: seconds by which the audio was moved to later; notes: what was not kept."""

    path: Path
    delay_s: float
    notes: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    longer: float = 1.0
    retimed: float = 1.0

    @property
    def words(self) -> str:
        """What was done, as a person says it."""
        parts = [_move_words(self.delay_s)] if self.delay_s or not (self.moves or self.longer != 1) else []
        total = self.delay_s
        for move in self.moves:
            total += move.later_s
            parts.append(f"{_move_words(total)} from {move.at:.2f} s on")
        if self.longer != 1:
            parts.append(f"audio made {100 * (self.longer - 1):+.2f} % longer")
        if self.retimed != 1:
            parts = [f"picture shown {100 * (1 / self.retimed - 1):+.2f} % faster, its packets untouched", *parts]
            return ", ".join(parts)
        return ", ".join([*parts, "video untouched"])


def write_aligned(
    src: PathLike,
    dst: PathLike,
    lag_frames: float,
    *,
    audio: str = "encode",
    tracks: Collection[int] | None = None,
    moves: Sequence[Move] = (),
    longer: float = 1.0,
    retime: float = 1.0,
) -> AlignReport:
    """Write `src` to `dst` with its lag repaired: the audio is delayed by lag_frames * 40 ms.

    lag_frames: as measured, at 25 fps, positive when the video lags the audio (the audio is early, so it is delayed);
    a fraction of a frame is honoured. tracks: numbers of the audio tracks that move, None: all; the others stay as
    they are. moves: further delays from some time on. longer: how much longer the sound is to last (a clock that ran
    wrong). retime: by what the time stamps of the picture are multiplied (frames saved at a wrong rate).
    audio="encode": the audio is decoded, moved, padded with silence, and encoded with its own codec family, rate and
    channels, so the repair survives tools that ignore start times. Sound that goes on after the last picture or
    begins before the first one stays; what would come before the file begins is cut and named in the notes.
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
    if audio == "copy" and (moves or longer != 1):
        raise SyncLipError("audio='copy' moves time stamps alone; this repair changes the sound: use 'encode'.")
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
            plan = _Plan(delay, tracks, list(moves), longer, Fraction(retime).limit_denominator(1_000_000))
            job = _Remux(source, file.temporary, target, plan, span, audio == "copy", extras, report.notes)
            report.retimed, report.longer, report.moves = retime, longer, list(moves)
            try:
                job.run()
                return report
            except _HeaderRefused as error:
                refusal = error
        raise SyncLipError(
            f"{target}: its container does not take the video of {source} ({refusal}). Use the ending {source.suffix}."
        )


@dataclass(frozen=True)
class _Plan:
    delay: Fraction
    tracks: Collection[int] | None
    moves: list[Move]
    longer: float
    retime: Fraction

    def moves_track(self, number: int) -> bool:
        return self.tracks is None or number in self.tracks


def _move_words(delay_s: float) -> str:
    if not delay_s:
        return "audio not moved"
    return f"audio moved {abs(round(delay_s * 1000))} ms {'later' if delay_s > 0 else 'earlier'}"


class _HeaderRefused(Exception):
    """The muxer did not accept the set of streams."""


class _Track:
    """One audio track on its way: blocks decoded with the delay, encoded in step with the video."""

    def __init__(self, blocks: Iterator[np.ndarray], rate: int, encoder: AudioEncoder) -> None:
        self.encoder = encoder
        self.rate = rate
        self.sent = 0
        self._blocks = blocks

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
        plan: _Plan,
        span: VideoSpan,
        copy: bool,
        extras: tuple[str, ...],
        notes: list[str],
    ) -> None:
        self.source, self.temporary, self.target = source, temporary, target
        self.plan, self.delay, self.start, self.duration = plan, plan.delay, span.start, span.duration
        self.copy, self.extras, self.notes = copy, extras, notes
        self.lift = Fraction(0)  # by which everything comes later, so that sound before the first picture has room
        self.copied: dict[int, Stream] = {}  # source index -> output stream
        self.tracks: list[_Track] = []
        self.staying: set[int] = set()  # source indices of the audio that is not moved

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
                if not self.plan.moves_track(number):
                    self.staying.add(stream.index)
                    self._add_copy(stream, out, needed=False)
                    continue
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
        plan = self.plan
        lead = max(Fraction(0), self.start - _begins(stream))
        lead = lead if lead > _LEAD_S else Fraction(0)
        # source time [s from the first picture] of the first sample that is written, and where it goes
        first = -lead if lead else -self.delay / Fraction(plan.longer)
        place = self.start + self.delay + first * Fraction(plan.longer)
        if place < 0:
            self.lift = max(self.lift, -place)
        elif not lead and self.delay < 0 and self._sounds_before(number, -self.delay):
            self.notes.append(
                f"audio track {number}: {float(-self.delay) * 1000:.0f} ms of sound from before the first picture "
                "are cut"
            )
        try:
            sound = Sound(self.source, number, self.start + first)
        except SyncLipError as error:
            if number == 0:
                raise
            self.notes.append(f"audio track {number} is moved but not re-encoded: {error}")
            return False
        codec = encoder_for(stream.codec_context.name, out.format.name)
        bits = getattr(stream, "bit_rate", None)
        encoder = AudioEncoder(out, codec, sound.rate, sound.layout, place + self.lift, bits)
        _copy_labels(stream, encoder.stream)
        blocks: Iterator[np.ndarray] = iter(sound)
        if plan.longer != 1:
            blocks = at_speed(blocks, sound.rate, sound.layout, plan.longer)
        if plan.moves:
            marks = [(round((m.at - float(first)) * sound.rate), round(m.later_s * sound.rate)) for m in plan.moves]
            blocks = moved_apart(blocks, marks)
        least = round((self.duration * plan.retime + self.start - place) * sound.rate)
        self.tracks.append(_Track(at_least(blocks, least, len(sound.channels)), sound.rate, encoder))
        return True

    def _sounds_before(self, number: int, seconds: Fraction) -> bool:
        """Is there more than silence in the first seconds of a track?"""
        try:
            sound = Sound(self.source, number, self.start)
        except SyncLipError:
            return False
        wanted, peak = round(seconds * sound.rate), 0.0
        for block in sound:
            peak = max(peak, float(np.abs(block[:, :wanted]).max(initial=0.0)))
            wanted -= block.shape[1]
            if wanted <= 0:
                sound.close()
                break
        return peak > _SILENCE

    def _copy_packets(self, container: "InputContainer", out: "OutputContainer") -> None:
        wanted = [s for s in container.streams if s.index in self.copied and s.type != "attachment"]
        for packet in container.demux(*wanted):
            source = packet.stream
            if packet.dts is None and packet.pts is None and not packet.size:
                continue  # PyAV's flush packets
            if source.type == "audio" and packet.time_base:
                own = Fraction(0) if source.index in self.staying else self.delay
                move = round((own + self.lift) / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + move
                packet.dts = None if packet.dts is None else packet.dts + move
            elif self.lift and packet.time_base:
                _stamp(packet, Fraction(1), round(self.lift / packet.time_base))
            if source.type == "video" and self.plan.retime != 1:
                _stamp(packet, self.plan.retime, 0)
            if source.type == "video" and packet.dts is not None and packet.time_base:
                for track in self.tracks:
                    out.mux(list(track.until(packet.dts * packet.time_base - self.start + 1)))
            packet.stream = self.copied[source.index]
            out.mux(packet)
        for track in self.tracks:
            out.mux(list(track.rest()))


def _stamp(packet: "Packet", times: Fraction, plus: int) -> None:
    """Multiplies a packet's time stamps and moves them."""
    packet.pts = None if packet.pts is None else round(packet.pts * times) + plus
    packet.dts = None if packet.dts is None else round(packet.dts * times) + plus
    if times != 1 and packet.duration:
        packet.duration = round(packet.duration * times)


def _begins(stream: "Stream") -> Fraction:
    """When a track begins on the file's clock [s]; 0 where the container does not say."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return Fraction(stream.start_time * stream.time_base)


def _copy_labels(source: "Stream", made: "Stream") -> None:
    """Language, title and the like, and whether the stream is the default one, a cover, forced, ..."""
    made.metadata.update(source.metadata)
    made.disposition = source.disposition.value  # type: ignore[assignment]
