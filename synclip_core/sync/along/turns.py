"""Who speaks when: people who take turns are judged each on their own turn."""

from collections.abc import Mapping

import numpy as np

from ...metrics.distance import FPS
from .judge import Timeline
from .path import along

_CHANGE = 4.0  # nats that another face must bring before the speaker changes


def follow_speaker(faces: Mapping[int, Timeline], ticks: int) -> np.ndarray | None:
    """The face track of each tick, int64 [T]; None where no face fits the voice anywhere.

    faces: the timeline of each track on the clip's clock. One dynamic program: at each tick a face has the evidence of
    its own line there, and to change the face costs. Where nobody's line speaks, the face before goes on.
    """
    names = [name for name, face in faces.items() if any(s.lag_frames is not None for s in face.stretches)]
    if not names:
        return None
    gain = np.stack([_support(faces[name], ticks) for name in names], 1)
    score = np.zeros(len(names))
    came = np.zeros((ticks, len(names)), int)
    for t in range(ticks):
        best = int(score.argmax())
        stays = score >= score[best] - _CHANGE
        came[t] = np.where(stays, np.arange(len(names)), best)
        score = np.where(stays, score, score[best] - _CHANGE) + gain[t]
    state = int(score.argmax())
    path = np.zeros(ticks, int)
    for t in range(ticks - 1, -1, -1):
        path[t] = state
        state = int(came[t, state])
    return np.array(names, np.int64)[path]


def _support(face: Timeline, ticks: int) -> np.ndarray:
    """float64 [T]: evidence of each tick on the face's own line; 0 where it has none."""
    out = np.zeros(ticks)
    for s in face.stretches:
        if s.lag_frames is not None:
            start, end = round(s.start_s * FPS), round(s.end_s * FPS)
            out[start:end] = along(face.nats, start, end, s.lag_frames, s.slope)
    return out
