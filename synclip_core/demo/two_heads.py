"""The demo's head twice, side by side, with one voice: something to find the speaker in."""

from pathlib import Path

import numpy as np

from ..media.video import iter_ticks
from ..media.writer import VideoWriter
from . import CLIP

BEHIND = 141  # ticks by which the left head's mouth is off, half of the clip: more than the 5 s that are searched


def write_two_heads(path: str | Path) -> None:
    """Writes an MP4 whose right head speaks; the left one says words of another time."""
    frames = [frame.image for _, frame in iter_ticks(CLIP)]
    height, width = frames[0].shape[:2]
    with VideoWriter(path, 2 * width, height, 25, audio_from=CLIP) as writer:
        for index, frame in enumerate(frames):
            writer.write(np.concatenate([frames[(index + BEHIND) % len(frames)], frame], 1))
