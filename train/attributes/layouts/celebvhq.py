"""CelebV-HQ (Zhu et al. 2022): celebvhq_info.json and the cut clips, `<clip id>.mp4`, anywhere below its folder.

The JSON: meta_info {appearance_mapping, action_mapping}, clips {id: {ytb_id, duration {start_sec, end_sec}, bbox {top,
bottom, left, right}, attributes {appearance [40], action [35], emotion {sep_flag, labels}}}}. An emotion is a name for
the whole clip, or with sep_flag a list of {start_sec, end_sec, emotion}. No subject is named: clips of one YouTube
video (ytb_id) are kept together instead. Licence: non-commercial research only.
"""

import json
from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError

from ..dataset import Dataset, Group, Item
from .files import videos_below

INFO = "celebvhq_info.json"
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "happy", "fear", "sadness", "surprise")


def read(folder: Path) -> Dataset:
    """The clips that are there. Raises SyncLipError where the JSON is missing or otherwise laid out, or no clip is."""
    path = folder / INFO
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        actions = tuple(info["meta_info"]["action_mapping"])
        clips = dict(info["clips"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SyncLipError(f"{path}: expected CelebV-HQ's JSON with meta_info and clips; {error!r}") from error
    files = {file.stem: file for file in videos_below(folder)}
    items = []
    for name, clip in clips.items():
        if name not in files:
            continue
        try:
            emotion, action = _emotion(clip["attributes"]["emotion"]), clip["attributes"]["action"]
            single = {"emotion": emotion} if emotion else {}
            multi = {label: bool(value) for label, value in zip(actions, action, strict=True)}
            items.append(Item(files[name], single, multi, clip["ytb_id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SyncLipError(f"{path}: clip {name} is not laid out as published; {error!r}") from error
    if not items:
        raise SyncLipError(f"{folder}: none of the {len(clips)} clips of {INFO} is below it (expected <clip id>.mp4)")
    groups = (Group("emotion", "single", EMOTIONS), Group("action", "multi", actions))
    return Dataset("CelebV-HQ", groups, tuple(items), "non-commercial research only")


def _emotion(entry: dict[str, Any]) -> str:
    """The clip's emotion; "" where it changes within the clip, which is no single label."""
    labels = entry["labels"]
    names = {labels} if isinstance(labels, str) else {part["emotion"] for part in labels}
    unknown = names - set(EMOTIONS)
    if unknown:
        raise ValueError(f"unknown emotion {sorted(unknown)[0]!r}")
    return names.pop() if len(names) == 1 else ""
