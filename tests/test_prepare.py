"""Videos become shards once, with a reason for every refusal; what is in a shard is what inference would see."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from media_clips import clicks, write_clip

from synclip_core.demo import CLIP
from synclip_core.media.audio import read_audio
from train import prepare
from train.data.shards import decode_sample, read_shard


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
        assert clip.crops.shape[1:] == (prepare.CROP, prepare.CROP, 3)
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


def test_nothing_to_do_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 4
    assert "neither clips.csv nor videos" in capsys.readouterr().err
    assert prepare.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--part", "x"]) == 2
