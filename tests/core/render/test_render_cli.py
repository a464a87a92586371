"""`synclip render` as a program: exit codes, dry run, Ctrl-C and kill -9 in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_comfy import WORKFLOW, FakeComfy

from synclip_core import cli

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server(tmp_path):
    made = FakeComfy(tmp_path / "server")
    yield made
    made.gate.set()
    made.kill()


@pytest.fixture
def argv(tmp_path, server):
    (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "clip.mp4").write_bytes(b"x" * 1500)
    rows = "".join(f"take {n},clip.mp4,{n}\n" for n in range(8))
    (tmp_path / "jobs.csv").write_text("id,video,seed\n" + rows)
    paths = ["--workflow", tmp_path / "flow.json", "--manifest", tmp_path / "jobs.csv", "-o", tmp_path / "out"]
    return ["render", *map(str, paths), "--server", server.url]


def done(out):
    journal = out / "journal.jsonl"
    return [line for line in journal.read_text().splitlines() if '"done"' in line] if journal.exists() else []


def started(argv, server, out, rows):
    """A process that has finished `rows` rows and works on another, which never ends."""
    server.held = set(range(rows, 8))
    process = subprocess.Popen([sys.executable, "-m", "synclip_core.cli", *argv], cwd=ROOT, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (len(done(out)) == rows and server.running and server.pending):
        assert time.monotonic() < end and process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("meanwhile", ["still running", "finished", "server restarted"])
def test_a_killed_run_goes_on_where_it_stopped(argv, server, tmp_path, capsys, meanwhile):
    process = started(argv, server, tmp_path / "out", 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not (tmp_path / "out" / "results.csv").exists()
    if meanwhile == "server restarted":
        server.kill()
    if meanwhile != "still running":
        server.held = set()
    if meanwhile == "server restarted":
        server.start()
    while meanwhile == "finished" and len(server.ended) < 5:
        time.sleep(0.01)
    before = len(server.posted)
    server.held = set()
    assert cli.main(argv) == 0
    assert "8 rows: 8 done." in capsys.readouterr().out
    assert sorted(server.ended) == list(range(8)), "a row ended twice, or never"
    assert len(server.posted) - before == (5 if meanwhile == "server restarted" else 3)
    assert len(done(tmp_path / "out")) == 8
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == [f"take {n}" for n in range(8)]


def test_a_row_that_had_ended_is_fetched_though_its_server_forgot_it(argv, server, tmp_path):
    """Killed while it downloads, and the server restarted: the files are still there, so nothing is run again."""
    server.keeps_files = True
    process = subprocess.Popen([sys.executable, "-m", "synclip_core.cli", *argv], cwd=ROOT)
    journal = tmp_path / "out" / "journal.jsonl"
    while not (journal.exists() and '"ended"' in journal.read_text()) or server.running or server.pending:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    ended = list(server.ended)
    server.kill()
    server.keeps_files = False
    server.start()
    known = [json.loads(line) for line in journal.read_text().splitlines()]
    known = [int(event["row"][-1]) for event in known if event["event"] == "ended"]
    assert known and cli.main(argv) == 0
    assert all(server.ended.count(seed) == 1 for seed in known) and set(server.ended) == set(range(8))
    assert json.loads((tmp_path / "out" / f"take {known[0]}" / "out.txt").read_text())["seed"] == known[0]
    assert ended == server.ended[: len(ended)]


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(argv, server, tmp_path, capsys):
    process = started(argv, server, tmp_path / "out", 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 130 and "Run the same command again" in said and "Traceback" not in said
    table = (tmp_path / "out" / "results.csv").read_text()
    assert table.count(",done,") == 2 and table.count(",open,") == 6
    server.held = set()
    assert cli.main(argv) == 0
    assert sorted(server.ended) == list(range(8))


def test_exit_code_and_words_when_a_row_fails(argv, server, capsys):
    said = {"exception_type": "X", "exception_message": "no face was found"}
    server.rule = lambda graph: said if graph["2"]["inputs"]["seed"] == 3 else None
    assert cli.main(argv) == 4
    out, err = capsys.readouterr()
    assert "8 rows: 7 done, 1 failed. Table: " in out and "row take 3 failed: Work (node 2): no face was found" in err


def test_dry_run_shows_all_and_queues_nothing(argv, server, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert cli.main([*argv, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "take 7  run" in said and "clip.mp4" in said and "(0.0 MB)" in said and "answers, has every node" in said
    assert "8 rows, 8 to do. Nothing was queued." in said
    assert sorted(tmp_path.rglob("*")) == before and not server.posted and not server.uploads
    server.rule = lambda graph: {"exception_message": "no"} if graph["2"]["inputs"]["seed"] else None
    cli.main(argv)
    capsys.readouterr()
    assert cli.main([*argv, "--dry-run", "--server", "http://127.0.0.1:9"]) == 4
    said = capsys.readouterr().out
    assert "take 0  is done" in said and "take 1  run" in said and "8 rows, 7 to do" in said
    assert "http://127.0.0.1:9: cannot connect" in said


@pytest.mark.parametrize("address", ["ftp://host", "file:///etc/passwd", "127.0.0.1:8188", "http://", "javascript:1"])
def test_only_web_addresses_are_servers(argv, address, capsys):
    assert cli.main([*argv[:-1], address]) == 4
    assert "expected an address such as http://127.0.0.1:8188" in capsys.readouterr().err


def test_wrong_usage(argv, capsys):
    for wrong in (["--retries", "-1"], ["--patience", "soon"], ["--patience", "nan"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main([*argv, *wrong])


def test_without_aiohttp_it_says_how_to_get_it(argv, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert cli.main(argv) == 4
    assert 'pip install "synclip[render]"' in capsys.readouterr().err


def test_nothing_of_it_is_imported_before_it_is_needed():
    program = "import sys, synclip_core.cli, synclip_core.render.run; print('aiohttp' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout == "False\n", done.stderr


def test_a_folder_in_the_place_of_the_manifest(argv, tmp_path, server, capsys):
    (tmp_path / "takes").mkdir()
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / "takes" / name).write_bytes(name.encode())
    argv[argv.index("--manifest") + 1] = str(tmp_path / "takes")
    assert cli.main(argv) == 0
    assert "2 rows: 2 done" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"one.mp4", "two.mp4", "results.csv"}
