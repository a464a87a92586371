"""Audio encoders: which one for a file, and feeding it blocks."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

# FFmpeg's encoder for each codec that we can read; others become the container's usual codec.
_ENCODERS = {
    "aac": "aac",
    "opus": "libopus",
    "libopus": "libopus",
    "mp3": "libmp3lame",
    "mp3float": "libmp3lame",
    "flac": "flac",
    "alac": "alac",
    "ac3": "ac3",
    "eac3": "eac3",
    "mp2": "mp2",
}
_RATES = {
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "libopus": (8000, 12000, 16000, 24000, 48000),
    "libmp3lame": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "ac3": (32000, 44100, 48000),
    "eac3": (32000, 44100, 48000),
    "mp2": (16000, 22050, 24000, 32000, 44100, 48000),
}
_MAX_CHANNELS = {"libmp3lame": 2, "mp2": 2, "ac3": 6, "eac3": 6}
# Layouts that lossy multichannel encoders take; anything else is mixed to the one with as many channels.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_LOSSLESS = ("pcm_", "flac", "alac")


def encoder_for(codec: str, container: str) -> str:
    """The encoder of the same family as `codec`, or the usual one of the container ("mp4", "webm", ...)."""
    name = codec if codec.startswith("pcm_") else _ENCODERS.get(codec, "")
    usual = "libopus" if container == "webm" else "aac"
    if container == "webm" and name != "libopus":
        return usual
    if container == "mp4" and name.startswith("pcm_"):
        return usual  # PCM in MP4 is young and most players refuse it; MOV carries it
    return name or usual


class AudioEncoder:
    """Encodes float32 [C, n] blocks to one stream of `out`, the first sample at `start` seconds.

    rate and layout are kept where the codec can; otherwise the nearest higher rate and the layout that it knows.
    bit_rate: bits a second for lossy codecs, None = 96 kbit/s a channel.
    """

    def __init__(
        self,
        out: "OutputContainer",
        codec: str,
        rate: int,
        layout: str,
        start: Fraction = Fraction(0),
        bit_rate: int | None = None,
    ) -> None:
        channels = len(av.AudioLayout(layout).channels)
        self._layout_in, self._rate_in = layout, rate
        rates = _RATES.get(codec)
        if rates and rate not in rates:
            rate = min((r for r in rates if r > rate), default=rates[-1])
        if not codec.startswith("pcm_"):
            channels = min(channels, _MAX_CHANNELS.get(codec, 8))
            known = layout in LAYOUTS.values() or layout == "5.1(side)" and codec != "libopus"
            if not known or channels != len(av.AudioLayout(layout).channels):
                layout = LAYOUTS[channels]
        self.rate, self.layout = rate, layout
        self.stream = cast("AudioStream", out.add_stream(codec, rate=rate))
        self.stream.layout = layout
        if not codec.startswith(_LOSSLESS):
            top = {"libmp3lame": 320_000, "mp2": 384_000, "libopus": 256_000 * channels}.get(codec, 288_000 * channels)
            self.stream.bit_rate = min(max(bit_rate or 96_000 * channels, 48_000 * channels), top)
        self._convert = AudioResampler(format=self.stream.format, layout=layout, rate=rate)
        self._at = round(start * rate)
        self._open = True

    def encode(self, block: np.ndarray) -> "Iterator[Packet]":
        """block: float32 [C, n]."""
        if block.shape[1] == 0:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self._layout_in)
        frame.sample_rate = self._rate_in
        yield from self._push(self._convert.resample(frame))

    def finish(self) -> "Iterator[Packet]":
        """The last packets."""
        if self._open:
            self._open = False
            yield from self._push(self._convert.resample(None))
            yield from self.stream.encode(None)

    def _push(self, frames: list) -> "Iterator[Packet]":
        for frame in frames:
            # Counted, not taken from the converter: exact for any rate.
            frame.time_base = Fraction(1, self.rate)
            frame.pts = self._at
            self._at += frame.samples
            yield from self.stream.encode(frame)
