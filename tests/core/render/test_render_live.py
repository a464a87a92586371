"""Batches on real ComfyUI servers, one of which is killed and comes back. Skipped where there is no ComfyUI."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from comfy_common import ROOT, running

from synclip_core import cli
from synclip_core.demo import CLIP


def events(out, kind):
    journal = out / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [
        event for event in map(json.loads, (line for line in lines if line.endswith("\n"))) if event["event"] == kind
    ]


def executions(server):
    """How many prompts a server has run to their end, over all its lives, as its log says."""
    return len(re.findall(r"Prompt executed in", server.log.read_text()))


def cached(server):
    """Of every prompt in a server's history, the nodes that it did not run."""
    return [
        {node for kind, data in entry["status"]["messages"] if kind == "execution_cached" for node in data["nodes"]}
        for entry in server.json("/history").values()
    ]


def table(out):
    with open(out / "results.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clip(tmp_path):
    shutil.copyfile(CLIP, tmp_path / "take.mp4")
    return tmp_path


def command(folder, workflow, *servers, **options):
    paths = ["--workflow", ROOT / "workflows" / "api" / f"{workflow}.json", "--manifest", folder / "jobs.csv"]
    argv = ["render", *map(str, paths), "-o", str(folder / "out")]
    for server in servers:
        argv += ["--server", server.url]
    return argv + [text for name, value in options.items() for text in (f"--{name}", str(value))]


def test_twenty_rows_on_two_servers_one_killed_midway(clip):
    rows = "".join(f"lag-{lag},take.mp4,{lag}\n" for lag in range(5, 25))
    (clip / "jobs.csv").write_text("id,video,max_lag\n" + rows)
    with running(clip / "one") as one, running(clip / "two") as two:
        argv = command(clip, "score_video", one, two, patience=100)
        process = subprocess.Popen([sys.executable, "-m", "synclip_core.cli", *argv], cwd=ROOT)
        try:
            while len(events(clip / "out", "done")) < 6:
                assert process.poll() is None
                time.sleep(0.05)
            before = len([e for e in events(clip / "out", "done") if e["server"] == two.url])
            while len([e for e in events(clip / "out", "done") if e["server"] == two.url]) == before:
                time.sleep(0.01)
            time.sleep(0.4)  # into the next row
            two.process.kill()
            two.process.wait()
            with running(clip / "two", int(two.url.rsplit(":", 1)[1])):
                assert process.wait(400) == 0
        finally:
            process.kill()
            process.wait()
        counts = executions(one), executions(two)
        from_cache = cached(one)
    done = events(clip / "out", "done")
    lines = table(clip / "out")
    assert len(lines) == 20 and {line["status"] for line in lines} == {"done"}
    assert sorted(event["row"] for event in done) == sorted(f"lag-{lag}" for lag in range(5, 25)), "a row came in twice"
    assert sum(counts) == 20, f"20 rows, but the servers ran {counts}"
    assert {line["server"] for line in lines} == {one.url, two.url}
    assert {line["verdict"] for line in lines} == {"in_sync"}
    assert not any("2" in nodes for nodes in from_cache), "a row was not run, but taken from the cache"
    for line in lines:
        assert line["files"] and all((clip / "out" / name).stat().st_size > 1000 for name in line["files"].split(";"))


def test_equal_rows_are_cached_and_still_collected(clip):
    """Rows with the same values: the server runs nodes once and has the outputs of both in its history."""
    (clip / "jobs.csv").write_text("id,video\na,take.mp4\nb,take.mp4\n")
    with running(clip / "one") as one:
        assert cli.main(command(clip, "fix_sync", one)) == 0
        nodes = cached(one)
    assert nodes[1] >= {"1", "2", "3"}, "nothing was cached"
    for line in table(clip / "out"):
        files = line["files"].split(";")
        assert sum(name.endswith(".mp4") for name in files) == 1 and sum(name.endswith(".png") for name in files) == 2
        assert line["verdict"] == "in_sync"
        for name in files:
            assert (clip / "out" / name).stat().st_size > 1000


def test_what_the_server_says_of_a_bad_row(clip, capsys):
    (clip / "jobs.csv").write_text("video,max_lag,face\ntake.mp4,1000,auto\ntake.mp4,5,auto\ntake.mp4,5,the left one\n")
    (clip / "mute.mp4").write_bytes(b"no video")
    with open(clip / "jobs.csv", "a") as file:
        file.write("mute.mp4,5,auto\n")
    with running(clip / "one") as one:
        assert cli.main(command(clip, "score_video", one)) == 4
    lines = table(clip / "out")
    assert [line["status"] for line in lines] == ["failed", "done", "failed", "failed"]
    assert "SyncLipSyncScore (node 2): Value 1000 bigger than max" in lines[0]["error"]
    assert "expected auto, largest, longest, speaker" in lines[2]["error"]
    assert "LoadVideo" in lines[3]["error"] or "SyncLip" in lines[3]["error"]
