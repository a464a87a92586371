"""Batches against a stand-in server: results, errors, several servers, lost servers, nothing twice."""

import asyncio
import csv
import json
import threading
import time
from pathlib import Path

import pytest
from fake_comfy import WORKFLOW, FakeComfy

from synclip_core.errors import SyncLipError
from synclip_core.render import lane
from synclip_core.render.journal import read_state
from synclip_core.render.manifest import read_manifest
from synclip_core.render.run import render
from synclip_core.render.server import transport
from synclip_core.render.server.workflow import load_workflow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lane, "POLL_S", 0.05)
    monkeypatch.setattr(transport, "_ANSWER_S", 0.5)


@pytest.fixture
def servers(tmp_path):
    made = []

    def call(**options):
        made.append(FakeComfy(tmp_path / f"server{len(made)}", **options))
        return made[-1]

    yield call
    for server in made:
        server.gate.set()
        server.kill()


class Job:
    """A workflow and a manifest in a folder, to run as often as one likes."""

    def __init__(self, folder):
        self.folder, self.out, self.said = folder, folder / "out", []
        (folder / "flow.json").write_text(json.dumps(WORKFLOW))

    def manifest(self, text):
        (self.folder / "jobs.csv").write_text(text)

    def run(self, *servers, **options):
        workflow = load_workflow(self.folder / "flow.json")
        rows = read_manifest(self.folder / "jobs.csv", workflow)
        urls = [getattr(server, "url", server) for server in servers]
        options = {"patience": 0.3, **options}
        return asyncio.run(render(workflow, rows, urls, self.out, say=self.said.append, **options))

    def start(self, *servers, **options):
        """The same in a thread; call the result to wait for it."""
        box = []

        def work():
            try:
                box.append(self.run(*servers, **options))
            except BaseException as error:
                box.append(error)

        thread = threading.Thread(target=work)
        thread.start()

        def join():
            thread.join(30)
            assert box, "still running"
            if isinstance(box[0], BaseException):
                raise box[0]
            return box[0]

        return join

    def table(self):
        with open(self.out / "results.csv", newline="", encoding="utf-8") as file:
            return {row["id"]: row for row in csv.DictReader(file)}

    def result(self, row, name="out.txt"):
        return json.loads((self.out / row / name).read_text())

    def events(self, kind):
        lines = (self.out / "journal.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    made.manifest("seed\n" + "".join(f"{n}\n" for n in range(6)))
    return made


def until(condition, limit_s=10):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "never came about"
        time.sleep(0.005)


# ---- what comes out ----------------------------------------------------------------------------------------------


def test_every_row_has_its_own_results(job, servers):
    server = servers()
    assert job.run(server) == {"done": 6, "failed": 0, "open": 0}
    assert sorted(server.ended) == list(range(6))
    for number, (row, line) in enumerate(job.table().items(), 1):
        assert row == f"{number:04d}" and line["seed"] == str(number - 1) and line["status"] == "done"
        assert line["server"] == server.url and line["prompt_id"] in server.history and 0 < float(line["seconds"]) < 5
        assert line["files"] == f"{row}/out.txt;{row}/4-out.txt" and line["error"] == ""
        assert [line[k] for k in ("verdict", "lag_frames", "lag_ms", "score")] == ["audio_early", "3", "120", "0.5"]
        assert job.result(row)["seed"] == number - 1 and job.result(row)["node"] == "3"
        assert job.result(row, "4-out.txt")["node"] == "4"
    assert not list(job.out.rglob(".synclip-*"))


def test_it_ends_though_a_server_says_so_late(job, servers):
    """Python before 3.12: a wait_for whose event comes with the cancellation swallows the cancellation."""
    server = servers()
    server.slow_to_say = True
    job.manifest("seed\n1\n")
    for again in range(10):
        job.out = job.folder / f"out{again}"
        assert job.start(server)()["done"] == 1


def test_files_are_uploaded_once_and_kept_apart(job, servers):
    for folder in "ab":
        (job.folder / folder).mkdir()
        (job.folder / folder / "clip.mp4").write_bytes(folder.encode() * 70_000)
    job.manifest("video,seed\na/clip.mp4,1\nb/clip.mp4,2\na/clip.mp4,3\n")
    server = servers()
    job.run(server)
    assert len(server.uploads) == len(set(server.uploads)) == 2
    for row, folder in (("0001", "a"), ("0002", "b"), ("0003", "a")):
        assert (server.folder / "input" / job.result(row)["file"]).read_bytes() == folder.encode() * 70_000
    (server.folder / "input" / job.result("0001")["file"]).write_bytes(b"half")  # an upload that was cut short
    job.manifest("video,seed\na/clip.mp4,1\nb/clip.mp4,2\na/clip.mp4,3\na/clip.mp4,4\n")
    job.run(server)
    assert len(server.uploads) == 3 and len(server.ended) == 4


def test_whatever_list_a_node_puts_its_files_in_each_comes_once(job, servers):
    server = servers()

    def outputs(graph, prompt):
        (item,) = server.save(graph, prompt)["3"]["images"]
        return {"3": {"images": [item], "gifs": [dict(item, format="video/mp4")], "text": ["x"], "n": 3}, "9": None}

    server.outputs = outputs
    job.manifest("seed\n1\n")
    assert job.run(server)["done"] == 1 and job.table()["0001"]["files"] == "0001/out.txt"


def test_file_names_of_a_server_stay_in_the_rows_folder(job, servers):
    server = servers()
    evil = [{"filename": name, "subfolder": "..", "type": "output"} for name in ("../../evil.txt", "/etc/x", "..")]
    (server.folder / "evil.txt").write_text("evil")

    def outputs(graph, prompt):
        for item in evil:
            (
                server.folder / Path(item["filename"]).name if item["filename"] != ".." else server.folder / "dots"
            ).touch()
        return {"3": {"images": evil[:2]}}

    server.outputs = outputs
    job.manifest("seed\n1\n")
    before = {path for path in job.folder.rglob("*") if server.folder not in path.parents}
    assert job.run(server)["done"] == 1
    made = {path for path in job.folder.rglob("*") if server.folder not in path.parents} - before
    assert {path.parent for path in made if path.is_file()} == {job.out, job.out / "0001"}
    assert sorted(p.name for p in (job.out / "0001").iterdir()) == ["_.._evil.txt", "_etc_x"]


def test_a_cached_result_without_outputs_is_taken_from_the_prompt_that_made_it(job, servers):
    server = servers()
    job.manifest("seed\n1\n")
    job.run(server)

    old = server.history

    def empty(graph, prompt):
        cached = ["execution_cached", {"nodes": ["1", "2", "3", "4"]}]
        server.history = Late(server.history, prompt, cached)
        return {}

    class Late(dict):
        """Adds the message that a server sends when all nodes were cached."""

        def __init__(self, history, prompt, message):
            super().__init__(history)
            self.late, self.message = prompt, message

        def __setitem__(self, key, entry):
            entry["status"]["messages"].insert(1, self.message)
            super().__setitem__(key, entry)

    server.outputs = empty
    job.out = job.folder / "again"
    assert job.run(server)["done"] == 1
    assert len(old) == 1 and job.result("0001")["seed"] == 1
    assert job.table()["0001"]["verdict"] == "audio_early"


# ---- errors ------------------------------------------------------------------------------------------------------


def test_what_a_server_refuses_fails_at_once_with_its_words(job, servers):
    server = servers()
    job.manifest("seed,name\n1,a\n2,refused\n3,half\n4,a\n")
    assert job.run(server) == {"done": 2, "failed": 2, "open": 0}
    for row in ("0002", "0003"):
        assert job.table()[row]["error"] == "Work (node 2): Value not in list: name: 'refused' not in ['a']"
    assert len(server.posted) == 4
    assert sorted(server.ended) in ([1, 4], [1, 3, 4])  # half of a graph is cancelled, if it has not begun
    until(lambda: not server.running and not server.pending)


def test_an_error_of_a_node_is_final(job, servers):
    said = {"exception_type": "synclip_core.errors.SyncLipError", "exception_message": "no face was found\n"}
    server = servers(rule=lambda graph: said if graph["2"]["inputs"]["seed"] == 3 else None)
    assert job.run(server) == {"done": 5, "failed": 1, "open": 0}
    assert job.table()["0004"]["error"] == "Work (node 2): no face was found"
    assert server.ended.count(3) == 1


def test_out_of_memory_is_tried_again(job, servers):
    said = {"exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation on device"}
    server = servers()
    server.rule = lambda graph: said if graph["2"]["inputs"]["seed"] == 3 and server.started.count(3) < 3 else None
    assert job.run(server, retries=2) == {"done": 6, "failed": 0, "open": 0}
    assert server.started.count(3) == 3 and server.freed == 2
    server.rule = lambda graph: said
    job.out = job.folder / "b"
    job.manifest("seed\n9\n")
    assert job.run(server, retries=1) == {"done": 0, "failed": 1, "open": 0}
    assert server.started.count(9) == 2 and "Allocation on device (tried 2 times)" in job.table()["0001"]["error"]


def test_out_of_memory_goes_to_another_server(job, servers):
    said = {"exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation on device"}
    small, large = servers(rule=lambda graph: said), servers()
    assert job.run(small, large)["done"] == 6
    assert len(small.started) == len(set(small.started)) and sorted(large.ended) == list(range(6))


def test_a_row_that_was_interrupted_there_has_failed(job, servers):
    server = servers()
    server.gate.clear()
    wait = job.start(server)
    until(lambda: server.running)
    server.interrupted.update(server.running)
    until(lambda: len(server.ended) == 1)
    server.gate.set()
    assert wait() == {"done": 5, "failed": 1, "open": 0}
    assert job.table()["0001"]["error"] == "was interrupted on the server"


def test_a_file_too_big_for_the_server_fails_its_row(job, servers):
    server = servers()
    server.limit = 50_000
    (job.folder / "big.mp4").write_bytes(b"x" * 60_000)
    job.manifest("seed,video\n1,\n2,big.mp4\n")
    assert job.run(server) == {"done": 1, "failed": 1, "open": 0}
    assert "--max-upload-size" in job.table()["0002"]["error"] and not server.uploads


def test_missing_nodes_stop_everything_before_it_starts(job, servers):
    one, other = servers(), servers()
    del other.nodes["Work"]
    with pytest.raises(SyncLipError, match=f"{other.url}: lacks nodes of flow.json: Work"):
        job.run(one, other)
    assert not one.posted and not other.posted


def test_a_fraction_for_a_whole_number_stops_everything_before_it_starts(job, servers):
    server = servers()
    job.manifest("strength,seed\n0.25,1\n")
    assert job.run(server)["done"] == 1 and job.result("0001")["strength"] == 0.25
    job.out = job.folder / "b"
    job.manifest("strength,seed\n0.25,1\n1,2.5\n")
    with pytest.raises(SyncLipError, match=r"line 3 \(row 0002\), column seed: expected a whole number, got 2.5"):
        job.run(server)
    assert len(server.posted) == 1


def test_no_server_at_all_is_said_at_once(job, servers):
    server = servers()
    server.kill()
    with pytest.raises(SyncLipError, match=f"no server answers. {server.url}: "):
        job.run(server)
    assert not (job.out / "results.csv").exists()


def test_another_program_at_that_address_is_no_comfyui(job, servers):
    server = servers()
    server.nodes = {}
    with pytest.raises(SyncLipError, match="lacks nodes"):
        job.run(server)
    with pytest.raises(SyncLipError, match="no server answers|refuses GET"):
        job.run(server.url + "/elsewhere")


# ---- several servers, and servers that go away -------------------------------------------------------------------


def test_servers_share_the_rows_and_always_have_one_waiting(job, servers):
    one, other = servers(seconds=0.05), servers(seconds=0.05)
    depth = []
    for server in (one, other):
        rule = server.rule
        server.rule = lambda graph, s=server, rule=rule: depth.append(len(s.pending)) or rule(graph)
    job.manifest("seed\n" + "".join(f"{n}\n" for n in range(20)))
    assert job.run(one, other)["done"] == 20
    assert sorted(one.ended + other.ended) == list(range(20))
    assert min(len(one.ended), len(other.ended)) >= 7
    assert max(depth) == 1 and depth.count(1) >= 14


def test_a_restarted_server_gets_its_row_again_and_no_other_twice(job, servers):
    server = servers()
    server.held = {3, 4, 5}
    wait = job.start(server, patience=20)
    until(lambda: server.running and server.pending and len(server.ended) == 3)
    until(lambda: len(job.events("done")) == 3)  # what it has finished is home, for it will forget that
    server.kill()
    time.sleep(0.2)
    server.held = set()
    server.start()
    assert wait() == {"done": 6, "failed": 0, "open": 0}
    assert server.ended == [0, 1, 2, 4, 5, 3]  # the one that may have been at fault comes last
    assert len(server.started) == 7 and {e["why"] for e in job.events("gone")} == {f"{server.url} lost it"}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_row_that_kills_its_server_is_given_up(job, servers, retries):
    server = servers()
    job.manifest("seed\n1\n2\n")
    server.held = {1}
    wait = job.start(server, patience=20, retries=retries)
    for again in range(retries + 1):
        until(lambda: 1 in [graph["2"]["inputs"]["seed"] for graph in server.running.values()])
        until(lambda again=again: server.pending or again)
        time.sleep(0.2)
        server.kill()
        server.start()
    assert wait() == {"done": 1, "failed": 1, "open": 0}
    assert job.table()["0001"]["error"] == f"{server.url} lost it" + (" (tried 2 times)" if retries else "")
    assert server.ended == [2]  # the one that only waited behind it was not blamed


def test_rows_of_a_lost_server_go_to_another(job, servers):
    one, other = servers(), servers()
    one.gate.clear()
    wait = job.start(one, other)
    until(lambda: one.running and one.pending)
    one.kill()
    assert wait() == {"done": 6, "failed": 0, "open": 0}
    assert sorted(other.ended) == list(range(6)) and not one.ended
    assert len(job.events("abandoned")) == 2
    assert any(f"{one.url} is away; if it comes back" in sentence for sentence in job.said)


def test_a_server_that_hangs_is_lost_and_what_it_has_is_cancelled_when_it_is_back(job, servers):
    one, other = servers(), servers(seconds=0.2)
    job.manifest("seed\n" + "".join(f"{n}\n" for n in range(12)))
    one.gate.clear()
    wait = job.start(one, other)
    until(lambda: one.running and one.pending)
    held = set(one.running) | {prompt for prompt, _, _ in one.pending}
    one.hanging = True
    until(lambda: len(job.events("abandoned")) == 2)
    until(lambda: {e["row"] for e in job.events("abandoned")} <= {e["row"] for e in job.events("done")})
    one.hanging = False
    until(lambda: held == one.interrupted | set(one.cancelled))  # one ran, one waited
    one.gate.set()
    assert wait() == {"done": 12, "failed": 0, "open": 0}
    done = [event["row"] for event in job.events("done")]
    assert len(done) == len(set(done)) == 12


def test_a_server_that_is_back_before_its_row_was_taken_goes_on_with_it(job, servers):
    one, other = servers(), servers()
    job.manifest("seed\n1\n2\n3\n4\n")
    one.gate.clear()
    other.gate.clear()
    wait = job.start(one, other)
    until(lambda: len(one.running) + len(one.pending) == 2 == len(other.running) + len(other.pending))
    one.hanging = True
    until(lambda: len(job.events("abandoned")) == 2)  # they wait, as the other server is full
    one.hanging = False
    until(lambda: len(job.events("queued")) == 6)
    one.gate.set()
    other.gate.set()
    assert wait()["done"] == 4
    assert sorted(one.ended + other.ended) == [1, 2, 3, 4] and len(one.ended) == 2
    assert not one.cancelled and not one.interrupted


def test_a_proxy_whose_server_is_away_is_no_refusal(job, servers):
    one, other = servers(), servers()
    one.away = True
    assert job.run(one, other)["done"] == 6 and not one.posted
    assert any("does not answer" in sentence and "HTTP 502" in sentence for sentence in job.said)


def test_a_server_that_starts_late_joins_in(job, servers):
    one, late = servers(seconds=0.1), servers()
    late.kill()
    wait = job.start(one, late)
    until(lambda: one.started)
    late.start()
    assert wait()["done"] == 6
    assert late.ended and sorted(one.ended + late.ended) == list(range(6))
    assert any("going on without it" in sentence for sentence in job.said)


def test_when_all_servers_are_lost_it_stops_and_goes_on_later(job, servers):
    server = servers()
    server.gate.clear()
    wait = job.start(server)
    until(lambda: server.running)
    server.kill()
    with pytest.raises(SyncLipError, match="no server has answered for 0 s, 6 rows are left.*again"):
        wait()
    assert {line["status"] for line in job.table().values()} == {"open"}
    server.gate.set()
    server.start()
    assert job.run(server)["done"] == 6 and sorted(server.ended) == list(range(6))


def test_a_lost_answer_to_a_post_does_not_queue_twice(job, servers):
    server = servers()
    job.manifest("seed,name\n1,crash on post\n2,a\n")
    assert job.run(server)["done"] == 2
    assert sorted(server.ended) == [1, 2] and len(server.posted) == 2


def test_an_old_server_that_gives_its_own_ids(job, servers):
    server = servers()
    server.keeps_our_ids = False
    assert job.run(server)["done"] == 6 and sorted(server.ended) == list(range(6))
    assert {line["prompt_id"] for line in job.table().values()} == {f"own-{n}" for n in range(1, 7)}


# ---- again -------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_needs_no_server(job, servers):
    server = servers()
    job.run(server)
    table = (job.out / "results.csv").read_bytes()
    server.kill()
    assert job.run(server) == {"done": 6, "failed": 0, "open": 0}
    assert len(server.posted) == 6 and (job.out / "results.csv").read_bytes() == table


def test_failed_rows_are_tried_again_and_new_rows_join(job, servers):
    server = servers(rule=lambda graph: {"exception_type": "X", "exception_message": "no"})
    job.manifest("seed\n1\n")
    assert job.run(server)["failed"] == 1
    server.rule = lambda graph: None
    job.manifest("seed\n1\n2\n")
    assert job.run(server) == {"done": 2, "failed": 0, "open": 0}
    assert server.ended == [1, 1, 2] and job.table()["0001"]["error"] == ""


def test_changed_rows_are_run_anew_on_demand_only(job, servers):
    server = servers()
    job.manifest("seed\n1\n2\n")
    job.run(server)
    (job.out / "0001" / "mine.txt").write_text("of the user")
    job.manifest("seed,1.file\n1,\n5,\n".replace(",1.file", "").replace(",", ""))
    with pytest.raises(
        SyncLipError, match="rows are done with other values.*: 0002. Take another -o, or give --replace"
    ):
        job.run(server)
    assert server.ended == [1, 2]
    server.outputs = lambda graph, prompt: {"3": server.save(graph, prompt)["3"]}
    assert job.run(server, replace=True)["done"] == 2
    assert server.ended == [1, 2, 5] and job.result("0002")["seed"] == 5
    assert [p.name for p in (job.out / "0002").iterdir()] == ["out.txt"]  # the old copy is gone
    assert (job.out / "0001" / "mine.txt").exists()


def test_a_folder_of_another_job_is_refused(job, servers):
    server = servers()
    job.run(server)
    job.manifest("id,seed\nx,1\n")
    with pytest.raises(SyncLipError, match="holds results of another manifest"):
        job.run(server)
    graph = json.loads(json.dumps(WORKFLOW))
    del graph["4"]
    (job.folder / "flow.json").write_text(json.dumps(graph))
    with pytest.raises(SyncLipError, match="holds results of another workflow"):
        job.run(server)
    assert len(server.posted) == 6
    job.out = job.folder / "mine"
    job.out.mkdir()
    (job.out / "results.csv").write_text("precious")
    with pytest.raises(SyncLipError, match="no journal of ours"):
        job.run(server)
    assert (job.out / "results.csv").read_text() == "precious"


def test_the_journal_survives_a_torn_line_but_no_nonsense(job, servers):
    server = servers()
    job.run(server)
    with open(job.out / "journal.jsonl", "a") as file:
        file.write('{"event": "failed", "row": "0001", "ke')
    job.manifest("seed\n" + "".join(f"{n}\n" for n in range(7)))
    assert job.run(server)["done"] == 7 and len(server.ended) == 7
    assert read_state(job.out)[0].settled["0001"]["event"] == "done"
    with open(job.out / "journal.jsonl", "a") as file:
        file.write("nonsense\n")
    with pytest.raises(SyncLipError, match=r"journal.jsonl line \d+: is no line of a render journal"):
        job.run(server)


def test_two_runs_do_not_share_a_folder(job, servers):
    server = servers()
    server.gate.clear()
    wait = job.start(server)
    until(lambda: server.running)
    with pytest.raises(SyncLipError, match="another synclip render is writing"):
        job.run(server)
    server.gate.set()
    assert wait()["done"] == 6 and sorted(server.ended) == list(range(6))
