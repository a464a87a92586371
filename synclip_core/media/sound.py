"""A track of audio laid on the video's clock, block by block, at its own rate and with its own channels.

Time stamps decide where sound lies: encoder delay, edit lists and start offsets all arrive through them. Between them
samples are counted, so rounded stamps (1 ms in Matroska) add no jitter. A slow difference of stamps and count is
followed by stretching (a clock that drifts); a sudden one is a gap (silence) or an overlap (trimmed).
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from ..clock import MAX_GAP_S, RESET_S
from ..errors import SyncLipError
from .container import MEDIA_ERRORS, PathLike, check_audio, decoded, open_audio

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

_JUMP_S = 0.015  # shorter than a frame of any common codec, so that one lost packet leaves its gap
_DRIFT_S = 0.0006  # more than the mean rounding of stamps
_FOLLOW = 0.05  # weight of a new frame in the smoothed drift
_STRETCH = 0.005  # largest stretch, as a share of a frame


class Sound:
    """Reads one track. Iterate once over blocks float32 [C, n], -1..1, contiguous from `start` on.

    rate, layout (FFmpeg's name), channels (names): of the first frame; later changes are converted to it.
    start: time in the file that becomes t = 0 [s]; None = the track's first sample.
    `warnings` and `skipped` are complete at the end. Raises SyncLipError where no such track is or nothing decodes.
    """

    def __init__(self, path: PathLike, track: int = 0, start: Fraction | None = None) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.skipped = 0
        self._start = start
        self._container, self._stream = open_audio(path, track)
        try:
            self._frames = self._decode(self._stream)
            try:
                self._first: AudioFrame | None = next(self._frames)
            except StopIteration:
                reason = f" ({self.warnings[0]})" if self.warnings else ""
                raise SyncLipError(f"{path}: nothing of audio track {track} could be decoded{reason}.") from None
            self.rate: int = self._first.sample_rate
            self.layout: str = self._first.layout.name
            self.channels: list[str] = [c.name for c in self._first.layout.channels]
        except BaseException:
            self._container.close()
            raise

    def close(self) -> None:
        self._container.close()

    def _lost(self, reason: str) -> None:
        self.skipped += 1
        if len(self.warnings) < 10 and reason not in self.warnings:
            self.warnings.append(reason)

    def _decode(self, stream: "AudioStream") -> Iterator[AudioFrame]:
        for frame in decoded(self._container, stream, self._lost):
            assert isinstance(frame, AudioFrame)
            if frame.samples > 0:
                check_audio(self.path, frame.sample_rate, frame.layout.nb_channels)
                yield frame

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks of about a second: codec frames are so short that work on each would cost more than decoding."""
        held: list[np.ndarray] = []
        size = 0
        for part in self._parts():
            held.append(part)
            size += part.shape[1]
            if size >= self.rate:
                yield np.concatenate(held, axis=1)
                held, size = [], 0
        if held:
            yield np.concatenate(held, axis=1)

    def _parts(self) -> Iterator[np.ndarray]:
        with self._container:
            place = _Placement(self.rate, len(self.channels))
            assert self._first is not None
            first, self._first = self._first, None
            yield from self._placed(first, place)
            for frame in self._frames:
                yield from self._placed(frame, place)

    def _placed(self, frame: AudioFrame, place: "_Placement") -> Iterator[np.ndarray]:
        base = self._stream.time_base
        stamp = None if frame.pts is None or base is None else frame.pts * base
        if self._start is None:
            self._start = stamp if stamp is not None else Fraction(0)
        want = None if stamp is None else round((stamp - self._start) * self.rate)
        try:
            samples = self._samples(frame)
        except MEDIA_ERRORS as error:
            self._lost(f"a block of audio could not be converted ({error})")
            return
        yield from place(samples, want)

    def _samples(self, frame: AudioFrame) -> np.ndarray:
        """float32 [C, n] at the track's rate and layout."""
        if frame.sample_rate != self.rate or frame.layout.name != self.layout:
            frame.pts = None
            converter = AudioResampler(format="fltp", layout=self.layout, rate=self.rate)
            parts = [p.to_ndarray() for f in (frame, None) for p in converter.resample(f)]
            return np.concatenate(parts, axis=1) if parts else np.zeros((len(self.channels), 0), np.float32)
        return as_float(frame)


def as_float(frame: AudioFrame) -> np.ndarray:
    """Samples of a frame as float32 [C, n], -1..1; not-a-number becomes 0."""
    raw = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    if raw.dtype == np.uint8:
        return (raw.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    if raw.dtype.kind == "i":
        return raw.astype(np.float32) * np.float32(0.5 ** (8 * raw.dtype.itemsize - 1))
    values = raw.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, posinf=0, neginf=0)
    return np.clip(values, -1, 1)


class _Placement:
    """Puts blocks where their stamps say and hands out one contiguous signal from sample 0 on."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate = rate
        self.channels = channels
        self.position = 0  # where the next sample goes; negative before t = 0
        self.shift = 0  # added to stamps after a jump of the clock
        self.drift: float | None = None  # smoothed stamp minus count, in samples

    def __call__(self, samples: np.ndarray, want: int | None) -> Iterator[np.ndarray]:
        """samples: [C, n]; want: the sample number that its time stamp asks for."""
        if want is not None:
            samples, silence = self._settle(samples, want)
            while silence > 0:
                step = min(silence, self.rate)
                yield np.zeros((self.channels, step), np.float32)
                silence -= step
        early = min(max(0, -self.position), samples.shape[1])
        self.position += samples.shape[1]
        if early < samples.shape[1]:
            yield samples[:, early:]

    def _settle(self, samples: np.ndarray, want: int) -> tuple[np.ndarray, int]:
        """Move `position` towards the stamp. Returns the block, trimmed or stretched, and the silence before it."""
        off = want + self.shift - self.position
        if self.drift is None:  # the first block
            if abs(off) > MAX_GAP_S * self.rate:
                self.shift, off = -want, 0
            self.drift = 0.0
            self.position += off
            return samples, max(0, self.position)
        if off > MAX_GAP_S * self.rate or off < -RESET_S * self.rate:
            self.shift -= off
            return samples, 0
        if off > _JUMP_S * self.rate:
            silence = max(0, self.position + off) - max(0, self.position)
            self.position += off
            self.drift = 0.0
            return samples, silence
        if off < -_JUMP_S * self.rate:
            self.drift = 0.0
            return samples[:, min(-off, samples.shape[1]) :], 0
        self.drift += _FOLLOW * (off - self.drift)
        if abs(self.drift) > _DRIFT_S * self.rate and samples.shape[1] > 1:
            limit = max(1, int(samples.shape[1] * _STRETCH))
            change = max(-limit, min(limit, round(self.drift)))
            self.drift -= change
            return _stretch(samples, samples.shape[1] + change), 0
        return samples, 0


def _stretch(samples: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of [C, n] to [C, length]; for changes of a few samples."""
    old = np.arange(samples.shape[1])
    new = np.linspace(0, samples.shape[1] - 1, length)
    return np.stack([np.interp(new, old, row) for row in samples]).astype(np.float32)


def mono_frame(samples: np.ndarray, rate: int) -> AudioFrame:
    """float32 [N] as an audio frame for a resampler or an encoder."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    return frame
