"""`synclip score --jobs / --out / --resume`: every file once, whatever dies."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from synclip_core.cli import main
from synclip_core.cli.many.row_files import open_rows, rows_there
from synclip_core.cli.many.workers import results
from synclip_core.errors import SyncLipError
from synclip_core.sync.report import ScoreReport

ROOT = Path(__file__).resolve().parents[3]
FAKE = '''
"""A pipeline that judges by a file's name, in processes that import this module."""
import os, signal, time
from synclip_core.errors import SyncLipError
from synclip_core.sync.report import ScoreReport

class Fake:
    def score(self, file, progress=None):
        print("a library that prints to stdout")
        name = os.path.basename(file)
        if name.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("slow"):
            time.sleep(0.5)
        if name.startswith("broken"):
            raise SyncLipError(f"{file}: is not a\\nmedia file")
        return ScoreReport(file, "in_sync", lag_frames=0, score=0.4, duration_s=3.0, words="in sync")

def make(args):
    return Fake()
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "fake_many.py").write_text(FAKE, "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("fake_many", None)
    return importlib.import_module("fake_many")


def videos(folder: Path, names: list[str]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return sorted(str(folder / name) for name in names)


def files_of(path: Path) -> list[str]:
    return sorted(file for file, _ in rows_there(path))


def test_what_kills_its_process_costs_itself_alone() -> None:
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    items = ["1 + 1", kill, "2 + 2", "exit(3)", "3 + 3", "4 + 4"]
    found = {item: (result, ending) for item, result, ending in results(partial(partial, eval), items, 2)}
    assert found[kill] == (None, "its process was ended by SIGKILL")
    assert found["exit(3)"] == (None, "its process ended with exit code 3")
    assert [found[f"{k} + {k}"] for k in (1, 2, 3, 4)] == [(2 * k, None) for k in (1, 2, 3, 4)]


def test_items_are_taken_as_they_are_needed_and_leaving_ends_the_processes() -> None:
    taken = []

    def items() -> object:
        for k in range(1000):
            taken.append(k)
            yield f"__import__('os').getpid() if {k} == 0 else None"

    found = results(partial(partial, eval), items(), 1)
    _, pid, _ = next(found)
    assert len(taken) <= 2
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_every_file_has_one_row_and_the_worst_counts(suffix: str, fake: ModuleType, tmp_path: Path) -> None:
    files = videos(tmp_path / "in", [*(f"ok{k}.mp4" for k in range(6)), "kill.mp4", "broken.mp4"])
    out = tmp_path / f"rows.{suffix}"
    code = main(["score", str(tmp_path / "in"), "--out", str(out), "--jobs", "2"], pipeline=fake.make)
    assert code == 4 and files_of(out) == files
    verdicts = {Path(file).name: verdict for file, verdict in rows_there(out)}
    assert {name for name, verdict in verdicts.items() if verdict == "error"} == {"kill.mp4", "broken.mp4"}
    if suffix == "jsonl":
        rows = {Path(row["file"]).name: row for row in map(json.loads, out.read_text("utf-8").splitlines())}
        assert "SIGKILL" in rows["kill.mp4"]["error"] and rows["ok1.mp4"]["score"] == 0.4
    else:
        with open(out, newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        assert len(table) == 8 and all(row["file"] for row in table)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_run_goes_on_where_it_was_killed(suffix: str, fake: ModuleType, tmp_path: Path) -> None:
    files = videos(tmp_path / "in", [f"ok{k}.mp4" for k in range(7)])
    out = tmp_path / f"rows.{suffix}"
    assert main(["score", *files[:3], "--out", str(out)], pipeline=fake.make) == 0
    whole = out.read_bytes()
    out.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])  # killed while it wrote the third row
    assert main(["score", *files, "--out", str(out)], pipeline=fake.make) == 4  # --resume was not asked for
    assert main(["score", *files, "--out", str(out), "--resume", "--jobs", "2"], pipeline=fake.make) == 0
    assert files_of(out) == files
    before = out.read_bytes()
    assert main(["score", *files, "--out", str(out), "--resume"], pipeline=fake.make) == 0
    assert out.read_bytes() == before


def test_ctrl_c_keeps_the_rows_and_exits_130(fake: ModuleType, tmp_path: Path) -> None:
    files = videos(tmp_path / "in", [f"slow{k}.mp4" for k in range(40)])
    out = tmp_path / "rows.jsonl"
    code = (
        "import sys, fake_many; from synclip_core.cli import main\n"
        f"if __name__ == '__main__': sys.exit(main(['score', {str(tmp_path / 'in')!r}, '--out', {str(out)!r}, "
        "'--jobs', '2'], pipeline=fake_many.make))"
    )
    paths = os.pathsep.join([str(tmp_path / "modules"), str(ROOT)])
    run = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    limit = time.monotonic() + 120
    while time.monotonic() < limit and not (out.exists() and out.read_bytes().count(b"\n") >= 2):
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    errors = run.communicate(timeout=60)[1]
    assert run.returncode == 130 and "Traceback" not in errors, errors
    kept = files_of(out)
    assert 2 <= len(kept) < len(files) and len(set(kept)) == len(kept)


def test_several_jobs_without_out_answer_in_order(
    fake: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = videos(tmp_path / "in", ["a_ok.mp4", "kill.mp4", "slow.mp4", "z_ok.mp4"])
    assert main(["score", *files, "--jobs", "3", "--json"], pipeline=fake.make) == 4
    assert [row["file"] for row in json.loads(capsys.readouterr().out)] == files


def test_options_that_do_not_go_together(fake: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = videos(tmp_path / "in", ["ok.mp4"])
    assert main(["score", file, "--resume"], pipeline=fake.make) == 4
    assert main(["score", file, "--out", str(tmp_path / "x.jsonl"), "--json"], pipeline=fake.make) == 4
    assert main(["score", file, "--out", str(tmp_path / "x.txt")], pipeline=fake.make) == 4
    assert ".jsonl, .csv, .parquet" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text('{"some": "thing"}\n', "utf-8")
    assert main(["score", file, "--out", str(tmp_path / "other.jsonl"), "--resume"], pipeline=fake.make) == 4


def test_parquet_parts_hold_every_row(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    for start in (0, 300):
        rows = open_rows(path)
        for k in range(start, start + 300):
            verdict = "error" if k % 7 == 0 else "in_sync"
            rows.add(ScoreReport(f"{k}.mp4", verdict, lag_frames=k / 2 or 0, error="broken" if k % 7 == 0 else None))
        rows.close()
    assert files_of(path) == sorted(f"{k}.mp4" for k in range(600))
    table = parquet.read_table(path)
    assert table.num_rows == 600 and json.loads(table["report"][1].as_py())["file"]


def test_parquet_without_pyarrow_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SyncLipError, match="pip install pyarrow"):
        open_rows(tmp_path / "rows.parquet")
