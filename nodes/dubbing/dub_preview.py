"""What Dub Sampler shows: the last frame while it works, source above result at the end."""

import numpy as np
from PIL import Image

from ..shared.progress import Bar

COLUMNS, CELL = 6, 240


class Preview:
    """frames: of the whole video."""

    def __init__(self, frames: int) -> None:
        self.frames, self._bar = frames, Bar()
        self._wanted = {int((k + 0.5) * frames / COLUMNS) for k in range(COLUMNS)}
        self._pairs: list[tuple[Image.Image, Image.Image]] = []

    def watch(self, frame: int, before: np.ndarray, after: np.ndarray) -> None:
        """For dubbing.job.dub: moves the node's bar, and ends the job where the user pressed cancel."""
        self._bar.show(frame + 1, max(self.frames, frame + 1), lambda: after)
        if frame in self._wanted:
            self._pairs.append((_small(before), _small(after)))

    def sheet(self) -> Image.Image:
        """Six moments, source above result."""
        height = max((before.height for before, _ in self._pairs), default=CELL)
        sheet = Image.new("RGB", (max(1, len(self._pairs)) * (CELL + 4) - 4, 2 * (height + 4) - 4), (24, 24, 24))
        for column, pair in enumerate(self._pairs):
            for row, picture in enumerate(pair):
                sheet.paste(picture, (column * (CELL + 4), row * (height + 4)))
        return sheet


def _small(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((CELL, max(1, round(image.shape[0] * CELL / image.shape[1]))))
