"""Audio for the model (mono, 16 kHz, on the video's clock) and for writing (rate and channels kept)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.audio.resampler import AudioResampler

from ..clock import TICK_RATE, tick_count
from ..errors import SyncLipError
from .container import PathLike, find_video, open_input
from .downmix import to_mono
from .sound import Sound, mono_frame
from .span import video_span

_PAD = 48_000  # samples of silence handed out at a time


@dataclass(frozen=True, eq=False)
class NativeAudio:
    """samples: float32 [C, N], -1..1, sample 0 at t = 0; rate [Hz]; layout: FFmpeg's name ("stereo", "5.1")."""

    samples: np.ndarray
    rate: int
    layout: str


def read_audio(
    path: PathLike, *, track: int = 0, rate: int = 16_000, duration_s: float | Fraction | None = None
) -> np.ndarray:
    """A track as mono float32 [N], -1..1, sample 0 at the first video frame.

    N = ticks * rate / 25 exactly (640 a tick at 16 kHz), ticks = max(1, round(duration * 25)); duration: of the video,
    of the audio where there is no video, or `duration_s`. Missing sound is silence, surplus is cut.
    Raises SyncLipError when there is no audio track (a silent track gives zeros).
    """
    return np.concatenate(list(iter_audio(path, track=track, rate=rate, duration_s=duration_s)))


def iter_audio(
    path: PathLike,
    *,
    block_s: float = 10.0,
    track: int = 0,
    rate: int = 16_000,
    duration_s: float | Fraction | None = None,
) -> Iterator[np.ndarray]:
    """The samples of `read_audio` in blocks of `block_s` seconds (the last one shorter), in little memory."""
    if rate % TICK_RATE or rate <= 0:
        raise SyncLipError(f"rate={rate}: must be a positive multiple of {TICK_RATE} (whole samples a tick).")
    if block_s <= 0:
        raise SyncLipError(f"block_s={block_s}: must be positive.")
    start, length = _extent(path, duration_s)
    sound = Sound(path, track, start)
    total = None if length is None else tick_count(length) * (rate // TICK_RATE)
    return _blocks(_resampled(sound, rate), max(1, round(block_s * rate)), total, rate // TICK_RATE)


class NativeReader:
    """Iterable once over float32 [C, n] blocks of a track at its own `rate` and `layout`, as long as the video.

    delay: seconds by which the sound is moved to later times (negative: to earlier ones).
    """

    def __init__(
        self,
        path: PathLike,
        track: int = 0,
        duration_s: float | Fraction | None = None,
        delay: Fraction = Fraction(0),
    ) -> None:
        start, length = _extent(path, duration_s)
        if delay and start is not None:
            start -= delay
        self.sound = Sound(path, track, start)
        self.rate, self.layout = self.sound.rate, self.sound.layout
        self._total = None if length is None else max(1, round(length * self.rate))

    def __iter__(self) -> Iterator[np.ndarray]:
        return _cut(iter(self.sound), self._total, len(self.sound.channels))


def iter_native(path: PathLike, *, track: int = 0, duration_s: float | Fraction | None = None) -> NativeReader:
    """A track with its own rate and channels in blocks of about a second, for writing. See `read_audio_native`."""
    return NativeReader(path, track, duration_s)


def read_audio_native(path: PathLike, *, track: int = 0, duration_s: float | Fraction | None = None) -> NativeAudio:
    """A track with its own rate and channels, sample 0 at the first video frame, as long as the video.

    It is not padded to ticks: N = round(duration * rate). Holds the whole track; `iter_native` streams.
    """
    reader = NativeReader(path, track, duration_s)
    return NativeAudio(np.concatenate(list(reader), axis=1), reader.rate, reader.layout)


def _extent(path: PathLike, duration_s: float | Fraction | None) -> tuple[Fraction | None, Fraction | None]:
    """(start in the file's clock, length) that audio is laid on; None: begins with, lasts as long as the audio."""
    with open_input(path) as container:
        has_video = find_video(container) is not None
        has_audio = bool(container.streams.audio)
    if not has_audio:
        raise SyncLipError(f"{path}: has no audio track. Sync needs the voice in the file.")
    start = length = None
    if has_video:
        span = video_span(path)
        start, length = span.start, span.duration
    if duration_s is not None:
        length = Fraction(duration_s)
        if not 0 < length <= 24 * 3600:
            raise SyncLipError(f"duration_s={duration_s}: must be positive, at most a day.")
    return start, length


def _resampled(sound: Sound, rate: int) -> Iterator[np.ndarray]:
    """Mono blocks at `rate`. swresample's filter is centred: the output begins with the input, without delay."""
    if sound.rate == rate:
        for block in sound:
            yield to_mono(block, sound.channels)
        return
    resampler = AudioResampler(format="fltp", layout="mono", rate=rate)
    for block in sound:
        for frame in resampler.resample(mono_frame(to_mono(block, sound.channels), sound.rate)):
            yield frame.to_ndarray()[0]
    for frame in resampler.resample(None):
        yield frame.to_ndarray()[0]


def _cut(blocks: Iterator[np.ndarray], total: int | None, channels: int) -> Iterator[np.ndarray]:
    """Blocks [C, n] cut or padded with silence to `total` samples; at least one block."""
    count = 0
    for block in blocks:
        if total is not None and count + block.shape[1] >= total:
            yield block[:, : total - count]
            return
        yield block
        count += block.shape[1]
    missing = (total or 1) - count if total is not None or count == 0 else 0
    while missing > 0:
        pad = min(missing, _PAD)
        yield np.zeros((channels, pad), np.float32)
        missing -= pad


def _blocks(parts: Iterator[np.ndarray], size: int, total: int | None, tick: int) -> Iterator[np.ndarray]:
    """Regroup [n] parts to blocks of `size`, ending at exactly `total` samples (None: at a whole tick)."""
    held: list[np.ndarray] = []
    waiting = done = 0
    for part in parts:
        part = np.clip(part, -1, 1)
        if total is not None:
            part = part[: total - done - waiting]
        held.append(part)
        waiting += part.size
        if waiting >= size:
            joined = np.concatenate(held)
            for begin in range(0, waiting - waiting % size, size):
                yield joined[begin : begin + size]
                done += size
            held = [joined[waiting - waiting % size :]]
            waiting %= size
        if total is not None and done + waiting >= total:
            break
    end = total if total is not None else max(tick, round((done + waiting) / tick) * tick)
    rest = np.concatenate([*held, np.zeros(0, np.float32)])[: max(0, end - done)]
    missing = end - done - rest.size
    while missing > 0:
        pad = min(missing, size - rest.size)
        yield np.concatenate([rest, np.zeros(pad, np.float32)])
        done, missing, rest = done + rest.size + pad, missing - pad, rest[:0]
    if rest.size:
        yield rest
