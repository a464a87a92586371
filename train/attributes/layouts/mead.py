"""MEAD (Wang et al. 2020): M003/video/front/angry/level_1/001.mp4 - subject, view, emotion, level, take.

The front view only: the others are the same takes from the side, where the mouth is half hidden. Licence: research
only.
"""

from pathlib import Path

from synclip_core.errors import SyncLipError

from ..dataset import Dataset, Group, Item
from .files import videos_below

EMOTIONS = ("neutral", "angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
VIEW = "front"


def read(folder: Path) -> Dataset:
    """Raises SyncLipError where no file lies so."""
    items = []
    for path in videos_below(folder):
        parts = path.parts[-6:]
        if len(parts) < 6 or parts[1] != "video" or parts[2] != VIEW or not parts[4].startswith("level_"):
            continue
        if parts[3] not in EMOTIONS:
            raise SyncLipError(f"{path}: {parts[3]!r} is none of MEAD's emotions: {', '.join(EMOTIONS)}")
        items.append(Item(path, {"emotion": parts[3]}, {}, parts[0]))
    if not items:
        raise SyncLipError(f"{folder}: no file lies as in MEAD, such as M003/video/front/angry/level_1/001.mp4")
    return Dataset("MEAD", (Group("emotion", "single", EMOTIONS),), tuple(items), "research only")
