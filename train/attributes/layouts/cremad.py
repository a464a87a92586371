"""CREMA-D (Cao et al. 2014): VideoFlash/AAAA_SSS_EEE_LL.flv - actor, sentence, emotion, level. Licence: ODbL 1.0."""

import re
from pathlib import Path

from synclip_core.errors import SyncLipError

from ..dataset import Dataset, Group, Item
from .files import videos_below

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
NAME = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")


def read(folder: Path) -> Dataset:
    """Raises SyncLipError where no file is named so."""
    named = [(path, NAME.fullmatch(path.stem)) for path in videos_below(folder)]
    items = tuple(Item(path, {"emotion": EMOTIONS[name[3]]}, {}, f"actor {name[1]}") for path, name in named if name)
    if not items:
        raise SyncLipError(f"{folder}: no file named as CREMA-D names them, such as VideoFlash/1001_DFA_ANG_XX.flv")
    groups = (Group("emotion", "single", tuple(EMOTIONS.values())),)
    return Dataset("CREMA-D", groups, items, "ODbL 1.0")
