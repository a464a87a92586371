"""Videos become shards once, with a reason for every refusal; what is in a shard is what inference would see."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import clicks, write_clip

from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.media.audio import read_audio
from train.data.corpora import corpus_rows
from train.data.shards import decode_sample, read_shard
from train.prepare import videos as prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("videos")
    shutil.copy(CLIP, data / "head one.mp4")
    (data / "broken.mp4").write_bytes(b"no video")
    write_clip(data / "silent.mp4", frames=30)
    write_clip(data / "faceless.mp4", frames=30, audio=[clicks([0.5], 1.2, 48000)])
    return data


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    assert prepare.main(["--data", str(folder), "--out", str(out)]) == 0
    return out


def test_refusals_have_reasons(shards: Path) -> None:
    report = json.loads((shards / "report-0-of-1.json").read_text())
    assert report["samples"] >= 1 and report["hours"] > 0
    refused = report["refused"]
    assert set(refused) == {"broken.mp4", "silent.mp4", "faceless.mp4"}
    assert "no audio" in refused["silent.mp4"] and "no face" in refused["faceless.mp4"]


def test_samples_hold_the_face_and_its_sound(shards: Path) -> None:
    (path,) = shards.glob("*.tar")
    clips = [decode_sample(key, parts) for key, parts in read_shard(path)]
    sound = read_audio(CLIP)
    for clip in clips:
        assert clip.crops.shape[1:] == (128, 128, 3)
        assert clip.valid.mean() > 0.9 and len(clip.geometry) == len(clip.crops) == len(clip.valid)
        # mouth and chin lie where the canonical square has them, and the mouth moves
        middle = clip.geometry.mean((0, 1))
        assert np.abs(middle - (0.5, 0.75)).max() < 0.08
        opening = clip.geometry[:, 16, 1] - clip.geometry[:, 34, 1]  # inner lower lip against inner upper lip
        assert np.ptp(opening) > 0.02
        first = round(clip.meta["start_s"] * 25)
        np.testing.assert_allclose(clip.audio, sound[first * 640 : first * 640 + len(clip.audio)], atol=2e-3)


def test_a_second_run_does_nothing_twice(folder: Path, shards: Path) -> None:
    (path,) = shards.glob("*.tar")
    before = path.stat().st_mtime_ns
    assert prepare.main(["--data", str(folder), "--out", str(shards)]) == 0
    assert path.stat().st_mtime_ns == before


def test_faces_of_another_size(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(CLIP, tmp_path / "in" / "head.mp4")
    arguments = ["--data", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert prepare.main([*arguments, "--face", "200"]) == 0
    (path,) = (tmp_path / "out").glob("*.tar")
    clip = decode_sample("x", next(parts for _, parts in read_shard(path)))
    # 210 is the next that leaves an even crop; the margin stays what the models know
    assert clip.crops.shape[1:] == (240, 240, 3) and clip.margin == pytest.approx(1 / 14)
    assert prepare.main(arguments) == 4
    assert "holds faces of 210 pixels" in capsys.readouterr().err


def test_nothing_to_do_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 4
    assert "neither clips.csv nor videos" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:  # argparse's way of saying wrong usage
        prepare.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--part", "x"])
    assert wrong.value.code == 2


@pytest.mark.parametrize(
    "name, file, subject",
    [
        ("hallo3", "videos/a_b.mp4", "a_b"),
        ("celebvhq", "35666/M2Ohb0FAaJU_1.mp4", "M2Ohb0FAaJU"),
        ("celebvtext", "-_abcdefghi_0_12.mp4", "-_abcdefghi"),
        ("mead", "M003/video/front/angry/level_1/001.mp4", "M003"),
        ("vfhq", "train/Clip+7Tlyhbd8NMc+P1+C0+F9120-9220.mp4", "7Tlyhbd8NMc+P1"),
        ("hdtf", "clips/WDA_BarackObama_000.mp4", "WDA_BarackObama"),
        ("ravdess", "Actor_07/01-01-03-02-01-01-07.mp4", "Actor_07"),
        ("lrs3", "trainval/0Fi83BHQsMA/00002.mp4", "0Fi83BHQsMA"),
        ("grid", "s1/video/bbaf2n.mpg", "s1"),
    ],
)
def test_corpora_as_published(tmp_path: Path, name: str, file: str, subject: str) -> None:
    for path in (
        file,
        "notes/readme.md",
        "M003/video/left_30/angry/level_1/001.mp4",
        "Actor_07/02-01-03-02-01-01-07.mp4",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    rows = [row for row in corpus_rows(tmp_path, name) if row["file"] == file]
    assert [(row["subject"], row["source"], row["split"]) for row in rows] == [(f"{name}/{subject}", name, "train")]
    if name != "hallo3":
        assert len(corpus_rows(tmp_path, name)) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(SyncLipError, match=f"no video lies as in {name}"):
        corpus_rows(tmp_path / "empty", name)


def test_official_splits_are_kept_and_missing_ones_drawn(tmp_path: Path) -> None:
    for k in range(30):
        folder = "test" if k < 5 else "trainval" if k < 15 else "pretrain"
        (tmp_path / "lrs3" / folder / f"speaker{k}").mkdir(parents=True)
        (tmp_path / "lrs3" / folder / f"speaker{k}" / "00001.mp4").touch()
    rows = corpus_rows(tmp_path / "lrs3", "lrs3")
    splits = [row["split"] for row in rows]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (23, 2, 5)
    assert all((row["split"] == "test") == row["file"].startswith("test/") for row in rows)
    assert corpus_rows(tmp_path / "lrs3", "lrs3") == rows != corpus_rows(tmp_path / "lrs3", "lrs3", seed=1)

    for number in ("1", "2", "3"):
        (tmp_path / "lrs2" / "main" / number).mkdir(parents=True)
        (tmp_path / "lrs2" / "main" / number / "00001.mp4").touch()
    for split, line in (("train", "1/00001"), ("val", "2/00001"), ("test", "3/00001 NF")):
        (tmp_path / "lrs2" / f"{split}.txt").write_text(line + "\n")
    assert [row["split"] for row in corpus_rows(tmp_path / "lrs2", "lrs2")] == ["train", "val", "test"]
    (tmp_path / "lrs2" / "val.txt").unlink()
    with pytest.raises(SyncLipError, match="list of split val"):
        corpus_rows(tmp_path / "lrs2", "lrs2")


def test_sound_that_lies_apart_is_found(tmp_path: Path) -> None:
    """MEAD: the video of a take and its sound are two files."""
    video = tmp_path / "W011/video/front/happy/level_2/003.mp4"
    video.parent.mkdir(parents=True)
    with av.open(str(CLIP)) as whole, av.open(str(video), "w") as silent:
        stream = silent.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                silent.mux(packet)
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "shards"), "--layout", "mead"]
    assert prepare.main(arguments) == 0
    report = json.loads((tmp_path / "shards" / "mead-report-0-of-1.json").read_text())
    assert report["samples"] == 0 and "no audio track" in next(iter(report["refused"].values()))
    sound = tmp_path / "W011/audio/happy/level_2/003.m4a"
    sound.parent.mkdir(parents=True)
    shutil.copy(CLIP, sound)
    assert prepare.main([*arguments[:3], str(tmp_path / "again"), *arguments[4:]]) == 0
    (_, parts), *_ = read_shard(tmp_path / "again" / "mead-train-000000.tar")
    clip = decode_sample("x", parts)
    assert clip.meta["subject"] == "mead/W011" and np.abs(clip.audio).max() > 0.05


def test_processes_share_the_shards(
    folder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "VIDEOS_A_SHARD", 2)
    assert prepare.main(["--data", str(folder), "--out", str(tmp_path), "--processes", "2"]) == 0
    ours, theirs = (json.loads((out / "report-0-of-1.json").read_text()) for out in (tmp_path, shards))
    assert ours == theirs and len(list(tmp_path.glob("*.tar"))) == 2
    one, two = (
        {key: parts for path in sorted(out.glob("*.tar")) for key, parts in read_shard(path)}
        for out in (tmp_path, shards)
    )
    assert one.keys() == two.keys()
    assert all(one[key]["audio.flac"] == two[key]["audio.flac"] for key in one)
