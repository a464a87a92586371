"""Labels of each frame that need no annotator: from the sound, from word times, from the tracker's landmarks.

The bundled head is trained on these. Landmarks are in the canonical face square, where the head is upright and still
(synclip_core/faces/geometry.py); left and right are those of the picture. Every limit is a definition, not a finding.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synclip_core.clock import FPS
from synclip_core.errors import SyncLipError
from synclip_core.files.table import read_rows

from .dataset import Group
from .eye_patches import places
from .features import Features
from .fit import UNKNOWN

OPEN = 0.2  # gap of the inner lips over the width between their corners
# nose tip off the middle of the outer eye corners, over their distance: about 14 degrees, if the tip stands half that
# distance before the eyes
TURNED = 0.12
MOVED = 0.04  # nose tip below or above its usual height, over the same distance
TILTED = np.radians(8)
EDGE = 3  # ticks around a change of the speech mask that are not known: mouth and voice do not change in one frame
ALIGNMENTS = "grid_s1_align.csv"

# No blink: in a blink the mesh moves its lid points by a tenth, and as much without one (weights/ATTRIBUTES.md).
GROUPS = (
    Group("speech", "multi", ("speaking",)),
    Group("mouth", "multi", ("mouth_open",)),
    # each side for itself: turned heads are rare, and as classes beside "facing" would hardly ever be the likeliest
    Group("head_turn", "multi", ("turned_left", "turned_right")),
    Group("head_nod", "single", ("chin_up", "usual_height", "chin_down")),
    Group("head_tilt", "single", ("tilted_left", "upright", "tilted_right")),
)
DEFINITIONS = {
    "speech": "the sound holds speech (media/speech), 3 ticks around each change left out; on GRID a word "
    "must also be spoken by the word times, and frames where the two disagree are left out",
    "mouth": f"gap of the inner lips (mesh points 13, 14) at least {OPEN:g} of the width between their "
    "corners (78, 308)",
    "head_turn": f"nose tip (1) at least {TURNED:g} of the distance of the outer eye corners (33, 263) to the left or "
    "right, in the picture, of their middle",
    "head_nod": f"nose tip at least {MOVED:g} of the same distance above or below its median height in the clip",
    "head_tilt": "head rotated by 8 degrees or more in the picture's plane",
}

Words = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Measures:
    """float [T] each: see the limits above; roll in radians, clockwise."""

    gap: np.ndarray
    turn: np.ndarray
    height: np.ndarray
    roll: np.ndarray


def measures(features: Features) -> Measures:
    """From the landmarks of each frame; frames without a face hold nonsense."""
    points = features.points

    def distance(a: int, b: int) -> np.ndarray:
        return np.maximum(np.linalg.norm(points[:, a] - points[:, b], axis=-1), 1e-6)

    eyes = distance(33, 263)
    middle = (points[:, 33] + points[:, 263]) / 2
    nose = (points[:, 1] - middle) / eyes[:, None]
    return Measures(mouth_opening(points), nose[:, 0], nose[:, 1], features.roll)


def mouth_opening(points: np.ndarray, names: Sequence[int] | None = None) -> np.ndarray:
    """Gap of the inner lips over the width between their corners. [T, P, 2] -> float [T]; names: see `places`."""
    upper, lower, left, right = (points[:, place] for place in places((13, 14, 78, 308), names))

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.maximum(np.linalg.norm(a - b, axis=-1), 1e-6)

    return distance(upper, lower) / distance(left, right)


def derive(features: Features, words: Sequence[tuple[float, float]] | None = None) -> dict[str, np.ndarray]:
    """Group -> truth of each frame, int [T] (single) or [T, L] (multi), UNKNOWN where not known.

    words: (start_s, end_s) of every spoken word where the times are trusted.
    """
    found, valid = measures(features), features.valid
    height = found.height - np.median(found.height[valid])
    truth = {
        "speech": speech_truth(features.speech, words)[:, None],
        "mouth": (found.gap >= OPEN).astype(np.int64)[:, None],
        "head_turn": np.stack([found.turn <= -TURNED, found.turn >= TURNED], 1).astype(np.int64),
        "head_nod": three(height, MOVED),
        "head_tilt": three(found.roll, TILTED),
    }
    for rows in truth.values():
        rows[~valid] = UNKNOWN
    return truth


def three(values: np.ndarray, limit: float) -> np.ndarray:
    """0 below -limit, 2 above limit, 1 between."""
    return 1 + (values >= limit).astype(np.int64) - (values <= -limit)


def speech_truth(mask: np.ndarray, words: Sequence[tuple[float, float]] | None) -> np.ndarray:
    """bool [T] -> int [T], 1 where somebody speaks."""
    truth = mask.astype(np.int64)
    if words is not None:
        centre = (np.arange(len(mask)) + 0.5) / FPS
        spoken = np.zeros(len(mask), bool)
        for start, end in words:
            spoken |= (centre >= start) & (centre < end)
        truth[spoken != mask] = UNKNOWN
    for change in np.flatnonzero(np.diff(mask.astype(np.int8))) + 1:
        truth[max(0, change - EDGE) : change + EDGE] = UNKNOWN
    return truth


def read_words(data: Path) -> dict[str, list[tuple[float, float]]]:
    """File name -> the spoken words of GRID's alignment; empty where the table is not there."""
    table = data / ALIGNMENTS
    words: dict[str, list[tuple[float, float]]] = defaultdict(list)
    if not table.is_file():
        return words
    for row in read_rows(table, ("file", "start_s", "end_s", "word")):
        spoken = words[row["file"]]
        if row["word"] not in ("sil", "sp"):
            try:
                spoken.append((float(row["start_s"]), float(row["end_s"])))
            except ValueError as error:
                raise SyncLipError(f"{table}: start_s and end_s are seconds; {error}") from error
    return words
