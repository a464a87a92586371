"""Sound in pieces: moved apart, moved together, or run at another speed, block by block, without losing a sample."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.resampler import AudioResampler


@dataclass(frozen=True)
class Move:
    """From `at` on, seconds of the source from the first picture, the sound comes `later_s` later than before it
    (below 0: earlier)."""

    at: float
    later_s: float


def moved_apart(blocks: Iterable[np.ndarray], moves: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """float32 [C, n] blocks with each (sample, later) of `moves` done, samples of the source in order.

    later > 0: silence is put in. later < 0: the two sides overlap and are cross-faded, so that every sample is in the
    result, with weights that sum to 1.
    """
    source = _Source(blocks)
    done = 0
    head: np.ndarray | None = None  # of the next piece, already mixed
    for place, later in moves:
        overlap = max(0, -later)
        yield from source.take(max(0, place - done - overlap))
        if later > 0:
            yield from source.take(min(overlap, place - done))
            yield np.zeros((source.channels, later), np.float32)
        elif overlap:
            tail = source.joined(overlap)
            head = source.joined(overlap)
            both = min(tail.shape[1], head.shape[1])
            fade = np.linspace(1, 0, both, dtype=np.float32)
            mixed = tail[:, :both] * fade + head[:, :both] * (1 - fade)
            yield np.concatenate([mixed, tail[:, both:], head[:, both:]], axis=1)
        done = source.done
    yield from source.rest()


class _Source:
    """Blocks handed out by number of samples."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = iter(blocks)
        self._held = next(self._blocks, np.zeros((1, 0), np.float32))
        self.channels = self._held.shape[0]
        self.done = 0

    def take(self, samples: int) -> Iterator[np.ndarray]:
        while samples > 0:
            if not self._held.shape[1]:
                block = next(self._blocks, None)
                if block is None:
                    return
                self._held = block
            part, self._held = self._held[:, :samples], self._held[:, samples:]
            samples -= part.shape[1]
            self.done += part.shape[1]
            yield part

    def joined(self, samples: int) -> np.ndarray:
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *self.take(samples)], axis=1)

    def rest(self) -> Iterator[np.ndarray]:
        yield self._held
        yield from self._blocks


def at_speed(blocks: Iterable[np.ndarray], rate: int, layout: str, longer: float) -> Iterator[np.ndarray]:
    """float32 [C, n] blocks that last `longer` times as long: resampled, so that pitch follows the clock, which was
    what was wrong."""
    convert = AudioResampler(format="fltp", layout=layout, rate=round(rate * longer))
    for block in blocks:
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
            frame.sample_rate = rate
            for made in convert.resample(frame):
                yield made.to_ndarray()
    for made in convert.resample(None):
        yield made.to_ndarray()


def at_least(blocks: Iterable[np.ndarray], samples: int, channels: int) -> Iterator[np.ndarray]:
    """All blocks, and silence up to `samples` where they are fewer."""
    count = 0
    for block in blocks:
        count += block.shape[1]
        yield block
    while count < samples:
        step = min(samples - count, 48_000)
        count += step
        yield np.zeros((channels, step), np.float32)
