"""Every program in train/: one line and an exit code, never a traceback."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synclip_core.errors import SyncLipError
from train.engine.program import EXTRAS, extra_of, guarded, program

ROOT = Path(__file__).resolve().parents[3]
THIN = sorted(path for path in (ROOT / "train").glob("*.py") if path.name != "__init__.py")
ROOMS = sorted(path.parent for path in (ROOT / "train").glob("*/__main__.py"))
PROGRAMS = [path.stem for path in THIN] + [path.name for path in ROOMS]


def raising(error):
    def work():
        raise error

    return work


def test_what_a_user_can_help_is_one_line_and_4(capsys):
    assert guarded("plan", raising(SyncLipError("a.yaml: no such file"))) == 4
    assert capsys.readouterr().err == "plan: a.yaml: no such file\n"


def test_ctrl_c_is_one_line_and_130(capsys):
    assert guarded("prepare", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "prepare: stopped; run the same command again to go on\n"


def test_a_missing_package_is_a_sentence_that_names_its_extra(capsys):
    assert guarded("evaluate", raising(ModuleNotFoundError("No module", name="jiwer.transforms"))) == 4
    assert '".[train]"' in capsys.readouterr().err
    assert extra_of("diffusers") == "dubbing" and extra_of("deepspeed.ops") == "deepspeed" and extra_of("numpy") is None
    with pytest.raises(ModuleNotFoundError):  # a fault of ours
        guarded("evaluate", raising(ModuleNotFoundError("No module", name="train.gone")))


def test_the_extras_are_those_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in text for extra in EXTRAS)


def test_other_faults_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded("plan", lambda: 1 // 0)
    assert guarded("plan", lambda: None) == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_a_content(name):
    main = importlib.import_module(f"train.{name}").main
    content = main.__closure__[0].cell_contents
    source = Path(importlib.util.find_spec(content).origin).read_text()
    assert re.search(r"^def main\(\w+: .*\| None = None", source, re.MULTILINE)


@pytest.mark.parametrize("path", THIN, ids=lambda path: path.name)
def test_files_on_top_are_thin(path):
    assert len(path.read_text().splitlines()) <= 10


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_the_door_of_a_room_is_the_guarded_one(room):
    assert f"from train.{room.name} import main\n" in (room / "__main__.py").read_text()


def test_the_content_is_imported_when_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "content_of_a_test.py").write_text("def main(arguments):\n    return len(arguments)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    main = program("content_of_a_test", "test")
    assert "content_of_a_test" not in sys.modules
    assert main(["a", "b"]) == 2


def test_ctrl_c_in_prepare_with_processes_is_one_line(tmp_path):
    """The processes of the pool are interrupted with it, as a terminal does, and say nothing."""
    from synclip_core.demo import CLIP

    for number in range(70):  # two shards
        (tmp_path / f"{number}.mp4").symlink_to(CLIP)
    command = [sys.executable, "-m", "train.prepare", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--processes", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "out").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(20)  # its processes are up
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in said
    assert said.strip().splitlines()[-1] == "prepare: stopped; run the same command again to go on"


def test_offsets_without_shards_is_an_error(tmp_path, capsys):
    from train.offsets import main

    assert main(["--data", str(tmp_path)]) == 4
    assert "no shards (*.tar) here" in capsys.readouterr().err
