"""Every workflow on real clips in a real ComfyUI: what it says is what the command line says, to the last digit."""

import csv
import json

import av
import pytest
from comfy_common import packets, running, workflow

from synclip_core import cli
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.align import write_aligned


@pytest.fixture(scope="module")
def clips(data_dir):
    """Of the test split: a GRID sentence, the first talking head of the web, and one that was generated."""
    with open(data_dir / "clips.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "test" and float(row["duration_s"]) < 12]
    groups = {"grid": "grid_s1/", "real": "talk/", "generated": "talk/"}
    kinds = {"grid": "real", "real": "real", "generated": "generated"}
    return {
        name: data_dir
        / next(r["file"] for r in rows if r["file"].startswith(groups[name]) and r["kind"] == kinds[name])
        for name in groups
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory, clips):
    with running(tmp_path_factory.mktemp("comfy")) as found:
        for name, path in clips.items():
            found.put(path, f"{name}.mp4")
            write_aligned(path, found.base / "input" / f"{name}_early.mp4", -4)
        yield found


def said_by_cli(capsys, *arguments):
    """The report that `synclip score --json` prints, without the file's name."""
    cli.main(["score", "--json", *map(str, arguments)])
    (report,) = json.loads(capsys.readouterr().out)
    return {**report, "file": ""}


def said_by(outputs, node):
    return {**outputs[node]["synclip_report"][0], "file": ""}


CLIPS = [f"{name}{suffix}.mp4" for name in ("grid", "real", "generated") for suffix in ("", "_early")]


@pytest.mark.parametrize("clip", CLIPS)
def test_scores_equal_the_command_line(server, capsys, clip):
    want = said_by_cli(capsys, server.base / "input" / clip)
    assert said_by(server.run(workflow("score_video", n1__file=clip)), "2") == want
    # tokens know neither the faces nor the tracks of the file that they came from
    want |= {"tracks": [], "audio_track": None}
    assert said_by(server.run(workflow("score_tokens", n1__file=clip)), "6") == want


@pytest.mark.parametrize("clip", CLIPS)
def test_repair_and_gate_equal_the_command_line(server, capsys, tmp_path, clip):
    source = server.base / "input" / clip
    score = said_by_cli(capsys, source)
    outputs = server.run(workflow("fix_sync", n1__file=clip))
    fixed = server.saved(outputs, "4")
    if cli.main(["align", str(source), "-o", str(tmp_path / clip)]) == 0 or (tmp_path / clip).exists():
        assert all(packets(fixed, kind) == packets(tmp_path / clip, kind) for kind in ("video", "audio"))
    else:
        assert score["verdict"] == "cannot_tell" and "Nothing was changed" in outputs["3"]["text"][0]
    capsys.readouterr()
    assert said_by(outputs, "2") == score
    outputs = server.run(workflow("gate_generation", n1__file=clip))
    assert said_by(outputs, "2") == score
    assert outputs["3"]["synclip_gate"][0]["ok"] == (score["verdict"] == "in_sync")


@pytest.mark.parametrize("clip", CLIPS[::2])
def test_attributes_equal_the_command_line(server, capsys, clip):
    cli.main(["classify", "--json", str(server.base / "input" / clip)])
    (want,) = json.loads(capsys.readouterr().out)
    said = server.run(workflow("classify", n1__file=clip))["4"]["synclip_attributes"][0]
    assert {**said, "file": ""} == {**want, "file": ""} and want["face_share"] > 0.5


@pytest.mark.parametrize("clip", CLIPS)
def test_speaker_and_edit_equal_the_library(server, clip):
    source = server.base / "input" / clip
    outputs = server.run(workflow("find_speaker", n1__file=clip))
    want = [face.to_json() for face in SyncPipeline().speakers(source)]
    assert outputs["2"]["synclip_faces"][0] == want
    edited = server.saved(server.run(workflow("edit_mouth", n1__file=clip)), "6")
    assert frames(edited) == frames(source) and packets(edited, "audio")


def frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
