"""A disk that fills up while a run writes: one clear line, exit code 4, and afterwards the run is the unbroken one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from noise_shards import SETTINGS, noise_clip, write_noise

from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from train.data.shards import encode_sample, write_shard
from train.engine.journal import Journal
from train.pretrain import program as pretrain

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")
STAGE = {"learn": "all", "steps": 4, "warmup": 1, "clips": 2, "frames": 12, "reconstruct": 2}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("run")
    settings = {**SETTINGS, "stages": [STAGE], "checkpoint_every": 1, "validate_every": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    write_noise(folder, [*map(noise_clip, range(5)), noise_clip(9, "val")])
    return ["--config", str(folder / "config.yaml"), "--data", str(folder), "--device", "cpu"]


@pytest.fixture(scope="module")
def unbroken(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("unbroken")
    assert pretrain.main([*arguments, "--out", str(out)]) == 0
    return read_safetensors(out / "last.safetensors")[0]


def same(out: Path, expected: dict[str, torch.Tensor]) -> bool:
    found = read_safetensors(out / "last.safetensors")[0]
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failed call says, beside the bar."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pretrain: /")]
    assert len(lines) == 1
    return lines[0]


def limited(size: int) -> None:
    """From here on this process cannot make a file larger: the system refuses to write on, as when the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize(("at", "file"), [("1", "samples/0000002.png"), ("2", "last.safetensors")])
def test_what_does_not_fit_leaves_the_last_checkpoint(
    arguments: list[str],
    unbroken: dict[str, torch.Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    at: str,
    file: str,
) -> None:
    call = [*arguments, "--out", str(tmp_path)]
    assert pretrain.main([*call, "--stop-at", at]) == 0
    kept = (tmp_path / "last.safetensors").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limited(20_000)
    try:
        assert pretrain.main(call) == 4
    finally:
        limited(before)
    said = told(capsys)
    assert f"{file}: could not be written, the disk is full" in said and "last whole checkpoint" in said
    assert (tmp_path / "last.safetensors").read_bytes() == kept and not list(tmp_path.glob(".synclip-*"))
    assert pretrain.main(call) == 0 and same(tmp_path, unbroken)
    limited(20_000)
    try:
        assert pretrain.main(call) == 4  # nothing is left to do but the export
    finally:
        limited(before)
    assert "model.safetensors: could not be written" in told(capsys) and load_checkpoint(tmp_path / "model.safetensors")


def test_a_log_that_cannot_grow_ends_the_run(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    assert pretrain.main([*arguments, "--out", str(tmp_path)]) == 4
    assert "log.jsonl: could not be written, the disk is full" in told(capsys)


def test_a_row_cut_short_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 10, "total": 1.0}\n{"step": 20, "to', encoding="utf-8")
    with Journal(tmp_path) as journal:
        journal.write(20, {"total": 2.0})
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB; only where this user may mount one."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)], capture_output=True)
    if done.returncode:
        pytest.skip("this user may not mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_whichever_write_fails_the_run_goes_on(
    arguments: list[str], unbroken: dict[str, torch.Tensor], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a little more room each time: whatever runs out of it."""
    out = small_disk / "run"
    out.mkdir()
    call, failed = [*arguments, "--out", str(out)], set()
    for room in (int(8 * 1.7**k) for k in range(15)):  # KB
        (small_disk / "others").unlink(missing_ok=True)
        fill(small_disk / "others", room * 1024)
        if pretrain.main(call) == 0:
            break
        failed.add(told(capsys).split(": ")[1].rsplit("/", 1)[1])
        if (out / "last.safetensors").exists():
            read_safetensors(out / "last.safetensors")
    assert same(out, unbroken) and "last.safetensors" in failed


def fill(path: Path, room: int) -> None:
    """All of the disk but `room` bytes."""
    with open(path, "wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - room))


def test_a_shard_that_does_not_fit_is_not_left_half_written(tmp_path: Path) -> None:
    samples = {"one": encode_sample(noise_clip(0))}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limited(20_000)
    try:
        with pytest.raises(SyncLipError, match="a.tar: could not be written, the disk is full"):
            write_shard(tmp_path / "a.tar", samples)
    finally:
        limited(before)
    assert not list(tmp_path.iterdir())
