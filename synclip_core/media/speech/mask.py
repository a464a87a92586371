"""Ticks with speech in them, by a trained detector: music and noise over a quiet floor are no speech, nor is most song.

How often it is right, against the detector of level that stood here before: weights/SPEECH.md.
"""

from typing import TYPE_CHECKING

import numpy as np

from ...clock import TICK

if TYPE_CHECKING:
    from .network import State

WINDOW, BEFORE = 512, 64  # samples that the network answers for at once, and those before them that it sees
BLOCK = 320  # windows that go through the network together (10 s), wherever a sound is cut: memory stays flat
LATE = 2  # windows: a word begins and ends before the network says so (AUC 0.977 to 0.990 on GRID's word times, val)
# speech begins where the probability passes the first and lasts as long as it stays over the second; val, SPEECH.md
BEGINS, LASTS = 0.5, 0.35
LEAST = 4  # ticks; what is shorter is a blow, not a word


class SpeechStream:
    """push() a sound in pieces of any size, then finish(): what is answered does not depend on how it was cut.

    late: windows by which the network is taken to answer late.
    """

    def __init__(self, late: int = LATE) -> None:
        self.late = late
        self._held = np.zeros(BEFORE, np.float32)  # samples that are not yet answered, after those that windows see
        self._state: State | None = None
        self._found: list[np.ndarray] = []
        self._samples = 0

    def push(self, piece: np.ndarray) -> None:
        """piece: float [n], 16 kHz mono, -1..1, the next samples; not-a-number is silence."""
        piece = np.nan_to_num(np.asarray(piece, np.float32).reshape(-1), posinf=0, neginf=0)
        self._samples += len(piece)
        self._held = np.concatenate([self._held, piece])
        while len(self._held) >= BEFORE + BLOCK * WINDOW:
            self._answer(BLOCK)

    def finish(self) -> np.ndarray:
        """Probability of speech of each tick that was begun, float32 [ceil(samples / 640)]."""
        windows = -(-self._samples // WINDOW) + self.late
        rest = windows - sum(map(len, self._found))
        self._held = np.pad(self._held, (0, max(0, BEFORE + rest * WINDOW - len(self._held))))
        for start in range(0, rest, BLOCK):
            self._answer(min(BLOCK, rest - start))
        return by_tick(np.concatenate(self._found)[self.late :], -(-self._samples // TICK))

    def _answer(self, windows: int) -> None:
        from .network import probabilities

        seen = np.lib.stride_tricks.sliding_window_view(self._held, BEFORE + WINDOW)[: windows * WINDOW : WINDOW]
        found, self._state = probabilities(np.ascontiguousarray(seen), self._state)
        self._found.append(found)
        self._held = self._held[windows * WINDOW :].copy()


def by_tick(values: np.ndarray, ticks: int) -> np.ndarray:
    """Values of windows of 512 samples as means over ticks of 640, float32 [ticks]."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]) * WINDOW
    edges = np.arange(ticks + 1) * TICK
    return (np.diff(np.interp(edges, np.arange(len(sums)) * WINDOW, sums)) / TICK).astype(np.float32)


def speech_ticks(probability: np.ndarray, begins: float = BEGINS, lasts: float = LASTS) -> np.ndarray:
    """Probability of speech of each tick -> bool [T]: what stays over `lasts` for LEAST ticks and passes `begins`."""
    mask = np.asarray(probability > lasts)
    for begin, end in runs(mask, True):
        mask[begin:end] = end - begin >= LEAST and probability[begin:end].max() > begins
    return mask


def speech_mask(waveform: np.ndarray) -> np.ndarray:
    """waveform: float [N], 16 kHz mono, -1..1, sample 0 at tick 0. Returns bool [ceil(N / 640)]: ticks with speech in
    them. Works on any length."""
    stream = SpeechStream()
    stream.push(waveform)
    return speech_ticks(stream.finish())


def runs(mask: np.ndarray, value: bool) -> list[tuple[int, int]]:
    """mask: bool [n]. First and end of each stretch of `value`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (mask == value).astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
