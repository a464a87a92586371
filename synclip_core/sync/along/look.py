"""How a face looks at each tick: how large, how far turned, how open the mouth, and whether the picture moves.

A mouth that cannot be seen, or does not move, is no evidence against the voice. These numbers tell the causes apart.
"""

from collections.abc import Sequence

import numpy as np

from ...faces.track_output import TrackChunk

SIZE, TURN, OPEN, MOTION, SEEN = range(5)
WIDTH = 5
_BROW, _CHIN, _LEFT, _RIGHT, _NOSE, _UPPER, _LOWER = 10, 152, 234, 454, 1, 13, 14
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def face_look(chunk: TrackChunk, before: np.ndarray | None, reduction: float = 1.0) -> np.ndarray:
    """The looks of a chunk, float32 [n, 5], by the names above.

    SIZE: height from brow to chin, px of the file (reduction: of the frames against the file). TURN: 0 frontal, 1 a
    full profile. OPEN: gap of the lips over that height. MOTION: mean change of the crop's lower half since the tick
    before, grey levels of 255; 0 at the first. SEEN: presence of a face, 0..1.
    before: uint8 [S, S, 3], the crop of the tick before the chunk, where there is one.
    """
    marks = chunk.landmarks
    height = np.maximum(np.linalg.norm(marks[:, _CHIN] - marks[:, _BROW], axis=1), 1e-6)
    left = np.linalg.norm(marks[:, _NOSE] - marks[:, _LEFT], axis=1)
    right = np.linalg.norm(marks[:, _NOSE] - marks[:, _RIGHT], axis=1)
    turn = np.abs(left - right) / np.maximum(left + right, 1e-6)
    gap = np.linalg.norm(marks[:, _LOWER] - marks[:, _UPPER], axis=1) / height
    out = np.stack([height / max(reduction, 1e-6), turn, gap, _motion(chunk.crops, before), chunk.score], 1)
    return out.astype(np.float32)


def _motion(crops: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """uint8 [n, S, S, 3] -> float32 [n]."""
    half = crops[:, crops.shape[1] // 2 :].astype(np.float32) @ _GREY
    first = half[:1] if before is None else (before[before.shape[0] // 2 :].astype(np.float32) @ _GREY)[None]
    return np.abs(np.diff(np.concatenate([first, half]), axis=0)).mean((1, 2))


def lay(length: int, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """float32 [length, 5] of (ticks, looks) of several tracks; NaN at other ticks."""
    whole = np.full((length, WIDTH), np.nan, np.float32)
    for ticks, looks in parts:
        whole[ticks] = looks
    return whole
