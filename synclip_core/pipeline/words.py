"""What the parts of the pipeline say to one another."""

from collections.abc import Callable

import numpy as np

from ..faces.track_output import TrackChunk

Progress = Callable[[int, int], None]  # ticks done, ticks in all
Watch = Callable[[TrackChunk], None]
Sound = tuple[np.ndarray, np.ndarray]  # audio tokens [T, dim], speech mask [T]
