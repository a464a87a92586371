"""A video in parts that a video model can make in one go."""

from dataclasses import dataclass

import numpy as np

SEGMENT = 17  # new frames of a part, as in the paper (section 5)


@dataclass(frozen=True)
class Part:
    """Ticks first .. first + frames - 1. continues: the tick before was made too, and its result is the continuity
    reference; track: whose face."""

    first: int
    frames: int
    continues: bool
    track: int

    @property
    def end(self) -> int:
        return self.first + self.frames


def parts_of(track: np.ndarray, segment: int = SEGMENT) -> list[Part]:
    """track: int64 [T], whose face each tick shows, -1 for none. Every tick with a face is in exactly one part."""
    edges = np.flatnonzero(np.diff(track)) + 1
    found = []
    for run in np.split(np.arange(len(track)), edges):
        if len(run) == 0 or track[run[0]] < 0:
            continue
        for first in range(int(run[0]), int(run[-1]) + 1, segment):
            frames = min(segment, int(run[-1]) + 1 - first)
            found.append(Part(first, frames, first > int(run[0]), int(track[first])))
    return found
