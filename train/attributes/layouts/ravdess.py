"""RAVDESS (Livingstone & Russo 2018): Actor_NN/MM-VV-EE-II-SS-RR-AA.mp4, everything in the name.

Modality (01 audio and video, 02 video only, 03 audio only), vocal channel (01 speech, 02 song), emotion (01..08),
intensity, statement, repetition, actor (01..24). 01 and 02 are the same recording; 02 counts where 01 is missing.
Licence: CC BY-NC-SA 4.0.
"""

import re
from pathlib import Path

from synclip_core.errors import SyncLipError

from ..dataset import Dataset, Group, Item
from .files import videos_below

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
NAME = re.compile(r"(0[12])-(0[12]-(0[1-8])-\d\d-\d\d-\d\d-(\d\d))")


def read(folder: Path) -> Dataset:
    """Raises SyncLipError where no file is named so."""
    found: dict[str, tuple[str, Item]] = {}
    for path in videos_below(folder):
        name = NAME.fullmatch(path.stem)
        if not name:
            continue
        modality, take, emotion, actor = name.groups()
        if take not in found or modality < found[take][0]:
            label = EMOTIONS[int(emotion) - 1]
            found[take] = modality, Item(path, {"emotion": label}, {}, f"actor {actor}")
    if not found:
        raise SyncLipError(f"{folder}: no file named as RAVDESS names them, such as Actor_01/01-01-03-02-01-01-01.mp4")
    items = tuple(item for _, item in found.values())
    return Dataset("RAVDESS", (Group("emotion", "single", EMOTIONS),), items, "CC BY-NC-SA 4.0")
