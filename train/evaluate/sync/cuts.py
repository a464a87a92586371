"""Cuts of clips, and foreign sound under them. Tokens are made after the cut, as of a file that holds it alone."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from ..clips import Clip

FREE = 25  # ticks: by so much the place of a cut must be able to vary in one of two clips, see `foreign_cuts`


def generator_for(seed: int, *names: str) -> np.random.Generator:
    """One generator a clip and purpose: a clip that fails or joins changes no other clip's draws."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


P = TypeVar("P", bound="Cuttable")


class Cuttable(Protocol):
    """A clip before anything looks along it: ClipParts, or Seen of the timeline's evidence."""

    waveform: np.ndarray

    def __len__(self) -> int: ...

    def cut(self: P, start: int, ticks: int) -> P: ...

    def sound(self: P, waveform: np.ndarray) -> P: ...


def cut(parts: P, seconds: float, generator: np.random.Generator) -> P | None:
    """A cut of `seconds` from a random place; None for shorter clips.

    Two missing ticks are forgiven: a file of 3 s often holds 74 frames.
    """
    total, wanted = len(parts), round(seconds * 25)
    if total < wanted - 2:
        return None
    ticks = min(total, wanted)
    return parts.cut(int(generator.integers(0, total - ticks + 1)), ticks)


def foreign_cuts(
    clip: Clip, parts: Mapping[str, tuple[Clip, P]], seconds: float, draws: int, generator: np.random.Generator
) -> Iterator[P]:
    """`draws` cuts of the clip under the sound of another person, from random places in both. parts: by file.

    Never another clip of the same person. And the place of one of the two cuts must be free by a second: sentences of
    one corpus (GRID) begin and end at the same moments of their files, so that whole files fit by that alone.
    """
    own = parts[clip.file][1]
    wanted = round(seconds * 25)

    def free(other: P) -> bool:
        return len(other) >= wanted - 2 and max(len(own), len(other)) >= wanted + FREE

    others: Sequence[P] = [p for c, p in parts.values() if c.identity != clip.identity and free(p)]
    if not others:
        return
    for _ in range(draws):
        part = cut(own, seconds, generator)
        sound = cut(others[int(generator.integers(len(others)))], seconds, generator)
        if part is None or sound is None:
            return
        ticks = min(len(part), len(sound))
        yield part.cut(0, ticks).sound(sound.waveform)
