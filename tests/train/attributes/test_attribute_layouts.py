"""Data sets as they are published: tiny folders in the exact naming, and what is none of them."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from synclip_core.errors import SyncLipError
from train.attributes.dataset import Item, with_splits
from train.attributes.layouts import FOLDERS, celebvhq, cremad, mead, ravdess, table


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(dataset) -> dict[str, tuple[dict, dict, str]]:
    return {item.path.name: (item.single, item.multi, item.subject) for item in dataset.items}


def test_ravdess(tmp_path: Path) -> None:
    touch(tmp_path, "Actor_01/01-01-03-02-01-01-01.mp4", "Actor_01/02-01-03-02-01-01-01.mp4")  # one recording, twice
    touch(tmp_path, "Actor_12/02-01-06-01-02-01-12.mp4", "Actor_12/03-01-08-01-02-01-12.wav", "Actor_12/notes.mp4")
    touch(tmp_path, "Actor_24/01-02-01-01-02-02-24.mp4", "Actor_24/._01-02-02-01-02-02-24.mp4")
    data = ravdess.read(tmp_path)
    assert data.groups[0].labels[2] == "happy" and len(data.groups[0].labels) == 8
    assert found(data) == {
        "01-01-03-02-01-01-01.mp4": ({"emotion": "happy"}, {}, "actor 01"),
        "02-01-06-01-02-01-12.mp4": ({"emotion": "fearful"}, {}, "actor 12"),
        "01-02-01-01-02-02-24.mp4": ({"emotion": "neutral"}, {}, "actor 24"),
    }


def test_cremad(tmp_path: Path) -> None:
    touch(
        tmp_path, "VideoFlash/1001_DFA_ANG_XX.flv", "VideoFlash/1001_IEO_HAP_HI.flv", "VideoFlash/1091_WSI_SAD_XX.flv"
    )
    touch(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/readme.flv")
    assert found(cremad.read(tmp_path)) == {
        "1001_DFA_ANG_XX.flv": ({"emotion": "anger"}, {}, "actor 1001"),
        "1001_IEO_HAP_HI.flv": ({"emotion": "happy"}, {}, "actor 1001"),
        "1091_WSI_SAD_XX.flv": ({"emotion": "sad"}, {}, "actor 1091"),
    }


def test_mead(tmp_path: Path) -> None:
    touch(tmp_path, "M003/video/front/angry/level_1/001.mp4", "M003/video/left_30/angry/level_1/001.mp4")
    touch(tmp_path, "W009/video/front/neutral/level_1/002.mp4", "M003/audio/angry/level_1/001.m4a")
    data = mead.read(tmp_path)
    assert sorted((item.subject, item.single["emotion"], item.path.name) for item in data.items) == [
        ("M003", "angry", "001.mp4"),
        ("W009", "neutral", "002.mp4"),
    ]
    touch(tmp_path, "M003/video/front/bored/level_1/001.mp4")
    with pytest.raises(SyncLipError, match="'bored' is none of MEAD's emotions"):
        mead.read(tmp_path)


ACTIONS = [f"action_{k}" for k in range(33)] + ["talk", "smile"]


def celebv(emotion) -> dict:
    return {
        "ytb_id": "M2Ohb0FAaJU",
        "duration": {"start_sec": 81.62, "end_sec": 86.17},
        "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
        "version": "v0.1",
        "attributes": {"appearance": [0] * 40, "action": [0] * 33 + [1, 0], "emotion": emotion},
    }


def test_celebvhq(tmp_path: Path) -> None:
    parts = [{"start_sec": 0, "end_sec": 2, "emotion": "happy"}, {"start_sec": 2, "end_sec": 4, "emotion": "surprise"}]
    clips = {
        "M2Ohb0FAaJU_1": celebv({"sep_flag": False, "labels": "neutral"}),
        "M2Ohb0FAaJU_2": celebv({"sep_flag": True, "labels": parts}),
        "not_downloaded_1": celebv({"sep_flag": False, "labels": "fear"}),
    }
    info = {"meta_info": {"appearance_mapping": ["a"] * 40, "action_mapping": ACTIONS}, "clips": clips}
    (tmp_path / "celebvhq_info.json").write_text(json.dumps(info))
    touch(tmp_path, "downloaded_celebvhq/processed/M2Ohb0FAaJU_1.mp4", "M2Ohb0FAaJU_2.mp4", "other.mp4")
    data = celebvhq.read(tmp_path)
    assert [(g.name, g.kind, len(g.labels)) for g in data.groups] == [("emotion", "single", 8), ("action", "multi", 35)]
    assert found(data)["M2Ohb0FAaJU_1.mp4"][0] == {"emotion": "neutral"}
    assert found(data)["M2Ohb0FAaJU_2.mp4"][0] == {}, "an emotion that changes is no single label"
    for _, multi, subject in found(data).values():
        assert [name for name, holds in multi.items() if holds] == ["talk"] and len(multi) == 35 and subject
    clips["M2Ohb0FAaJU_1"]["attributes"]["action"] = [1]
    (tmp_path / "celebvhq_info.json").write_text(json.dumps(info))
    with pytest.raises(SyncLipError, match="clip M2Ohb0FAaJU_1 is not laid out as published"):
        celebvhq.read(tmp_path)


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "file,subject,split,mood,talk,smile\na.mp4,x,train,glad,1,0\nb/c.mp4,y,test,sad,,1\nd.mp4,z,val,,0,1\n"
    )
    data = table.read(path)
    assert [(g.name, g.kind, g.labels) for g in data.groups] == [
        ("mood", "single", ("glad", "sad")),
        ("labels", "multi", ("talk", "smile")),
    ]
    assert found(data) == {
        "a.mp4": ({"mood": "glad"}, {"talk": True, "smile": False}, "x"),
        "c.mp4": ({"mood": "sad"}, {"smile": True}, "y"),
        "d.mp4": ({}, {"talk": False, "smile": True}, "z"),
    }
    assert data.items[1].path == tmp_path / "b" / "c.mp4" and [i.split for i in data.items] == ["train", "test", "val"]
    assert [g.name for g in table.read(path, ["mood"]).groups] == ["mood"]
    with pytest.raises(SyncLipError, match="lacks grin"):
        table.read(path, ["grin"])
    path.write_text("file,mood\na.mp4,glad\nb.mp4,glad\n")
    with pytest.raises(SyncLipError, match="one value only"):
        table.read(path)
    with pytest.raises(SyncLipError, match="expected a CSV table"):
        table.read(tmp_path / "none.csv")


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_another_folder_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "some.mp4")
    with pytest.raises(SyncLipError, match=r"Actor_01|VideoFlash|M003|celebvhq_info.json"):
        FOLDERS[name](tmp_path)


def people(count: int, split: str = "") -> list[Item]:
    return [Item(Path(f"{p}-{k}.mp4"), {}, {}, f"p{p}", split) for p in range(count) for k in range(3)]


def test_nobody_is_in_two_splits() -> None:
    seen = defaultdict(set)
    done = with_splits(people(40), seed=0)
    for item in done:
        seen[item.subject].add(item.split)
    assert all(len(splits) == 1 for splits in seen.values())
    counts = {split: sum(splits == {split} for splits in seen.values()) for split in ("train", "val", "test")}
    assert counts == {"train": 32, "val": 4, "test": 4}
    assert done == with_splits(people(40), seed=0) != with_splits(people(40), seed=1)
    assert with_splits(list(reversed(people(40))), seed=0) == list(reversed(done)), "the order of files does not matter"


def test_official_splits_stay_and_must_be_whole() -> None:
    items = people(1, "train") + people(1, "val") + people(1, "test")
    assert with_splits(items, seed=3) == items
    with pytest.raises(SyncLipError, match="for every file"):
        with_splits(items + people(1), seed=0)
    with pytest.raises(SyncLipError, match="too few to split"):
        with_splits(people(1), seed=0)
