"""Training on two processes with DeepSpeed is training on one: the same gradients, the same run after kills."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from noise_shards import SETTINGS, noise_clip, write_noise

from benchmarks.kills import processes
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from train.pretrain import program as pretrain

pytest.importorskip("deepspeed", reason="needs DeepSpeed: pip install deepspeed")
from train.engine.deepspeed import read_settings  # noqa: E402

STAGE = {"learn": "all", "steps": 12, "warmup": 4, "frames": 12, "reconstruct": 2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("shards"), [*map(noise_clip, range(5)), noise_clip(9, "val")])


def config_file(folder: Path, clips: int, **changes: object) -> Path:
    """clips: of each process."""
    path = folder / f"config{clips}.yaml"
    settings = {**SETTINGS, "stages": [{**STAGE, "clips": clips}], "checkpoint_every": 2, **changes}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def start(
    config: Path, shards: Path, out: Path, count: int, zero: int, *more: str, **settings: Any
) -> list[subprocess.Popen]:
    arguments = ["--config", str(config), "--data", str(shards), "--out", str(out)]
    arguments += ["--deepspeed", f"train/configs/deepspeed/zero{zero}.json", *more]
    return processes(arguments, count, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings)


def train(*arguments: object) -> None:
    running = start(*arguments)
    said = [process.communicate(timeout=240)[0][-3000:] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n---- next process\n".join(said)


def state(out: Path, *kinds: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in read_safetensors(out / "last.safetensors")[0].items() if k.endswith(kinds)}


@pytest.mark.parametrize("zero", [0, 2, 3])
def test_two_processes_take_the_step_of_one(shards: Path, tmp_path: Path, zero: int) -> None:
    """The first moment after one step is a tenth of the clipped gradient; Adam's step itself would hide its size."""
    alone = ["--config", str(config_file(tmp_path, 4)), "--data", str(shards), "--out", str(tmp_path / "one")]
    assert pretrain.main([*alone, "--stop-at", "1", "--device", "cpu"]) == 0
    train(config_file(tmp_path, 2), shards, tmp_path / "two", 2, zero, "--stop-at", "1")
    one, two = (state(tmp_path / name, "exp_avg", ".step") for name in ("one", "two"))
    assert one.keys() == two.keys() and len(one) > 60
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-8, msg=name)
    assert max(float(value.abs().max()) for value in one.values()) > 1e-3


def test_parts_of_a_batch_add_up(shards: Path, tmp_path: Path) -> None:
    """Two parts of two clips on one process are two processes that each contrast their own two clips."""
    split = {"optim": {"accumulate": 2}}
    arguments = ["--config", str(config_file(tmp_path, 4, **split)), "--data", str(shards), "--stop-at", "1"]
    assert pretrain.main([*arguments, "--out", str(tmp_path / "one"), "--device", "cpu"]) == 0
    train(config_file(tmp_path, 4, **split), shards, tmp_path / "two", 1, 2, "--stop-at", "1")
    one, two = (state(tmp_path / name, "exp_avg") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-8, msg=name)


def test_a_killed_run_goes_on_with_other_processes(shards: Path, tmp_path: Path) -> None:
    """Killed while two processes train, gone on by one, then by two: the unbroken run, to the last digits."""
    config, whole, broken = config_file(tmp_path, 2), tmp_path / "whole", tmp_path / "broken"
    train(config, shards, whole, 2, 2)
    running = start(config, shards, broken, 2, 2)
    end = time.monotonic() + 120
    while not (broken / "last.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.05)
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    killed_at = int(read_safetensors(broken / "last.safetensors")[1]["step"])
    assert 0 < killed_at < 8
    train(config, shards, broken, 1, 2, "--stop-at", "10")
    train(config, shards, broken, 2, 2)
    ends = [
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if "total" in line][-1]
        for out in (whole, broken)
    ]
    assert ends[0]["step"] == ends[1]["step"] == 10
    assert ends[0]["total"] == pytest.approx(ends[1]["total"], abs=1e-6)
    one, two = (read_safetensors(out / "last.safetensors") for out in (whole, broken))
    assert (two[1]["step"], two[1]["processes"]) == ("12", "2")
    for name, value in one[0].items():
        torch.testing.assert_close(two[0][name], value, rtol=0, atol=1e-6, msg=name)


def test_one_process_does_the_work_of_two(shards: Path, tmp_path: Path) -> None:
    """Under ZeRO 3 as well, which adds gradients up only where it is told that a backward pass is over."""
    stage = {**STAGE, "learn": "vision", "frames": 1, "clips": 4}
    config, out = config_file(tmp_path, 2, stages=[stage]), tmp_path / "two"
    train(config, shards, out, 2, 2, "--stop-at", "1")
    shutil.copytree(out, tmp_path / "one")
    train(config, shards, out, 2, 2, "--stop-at", "2")
    train(config, shards, tmp_path / "one", 1, 3, "--stop-at", "2")
    one, two = (state(tmp_path / name, "exp_avg") for name in ("one", "two"))
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, rtol=1e-5, atol=1e-8, msg=name)


def test_a_full_disk_ends_all_processes(shards: Path, tmp_path: Path) -> None:
    """The first one says why; the other does not wait for it, and says nothing."""
    resource = pytest.importorskip("resource", reason="limits of a process are Unix's")

    def limit() -> None:  # as if the disk were full; what one process sends to the other goes through no file
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    running = start(config_file(tmp_path, 2), shards, tmp_path / "out", 2, 2, preexec_fn=limit)
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [4, 4], said
    assert said[0].count("last.safetensors: could not be written, the disk is full") == 1
    assert "Traceback" not in said[0] + said[1] and "could not" not in said[1]
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_settings_that_contradict_the_config_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"gradient_clipping": 5}')
    with pytest.raises(SyncLipError, match=r"gradient_clipping is set by the config \(optim.clip\)"):
        read_settings(path)
    for text, words in (
        ("{]", "no DeepSpeed settings"),
        ("[1]", "expected a mapping"),
        ('{"zero_optimization": {"stage": 7}}', "zero_optimization.stage is 7; expected 0, 1, 2 or 3"),
    ):
        path.write_text(text)
        with pytest.raises(SyncLipError, match=words):
            read_settings(path)


def test_a_batch_that_cannot_be_shared_says_so(shards: Path, tmp_path: Path) -> None:
    config = config_file(tmp_path, 3, optim={"accumulate": 2})
    running = start(config, shards, tmp_path / "out", 1, 0)
    said, _ = running[0].communicate(timeout=120)
    assert running[0].returncode == 4 and "3 clips of a step cannot be shared by 1 processes in 2 parts" in said
