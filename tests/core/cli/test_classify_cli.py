"""`synclip classify`: what is printed, where, and with which exit code; and the bundled head on the bundled clip."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from synclip_core import cli
from synclip_core.attributes.head import AttributeGroup, AttributeHead
from synclip_core.attributes.head_file import save_head
from synclip_core.attributes.report import JSON_KEYS, classify
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.media.writer import VideoWriter

GROUPS = (
    AttributeGroup("speech", "multi", ("speaking",), (0.5,), "frame"),
    AttributeGroup("mood", "single", ("glad", "sad"), (0.0, 0.0), "clip"),
)
HEAD = AttributeHead(GROUPS, np.array([[9, 0], [5, 0], [-5, 0]], np.float32), np.zeros(3, np.float32), "f00d")


class FakePipeline:
    """Speaks for as many tenths of 50 frames as the name says: 3.mp4 for 30 %; and nobody.mp4, broken.mp4, ..."""

    checkpoint = SimpleNamespace(sha256="f00d")
    model = SimpleNamespace(config=SimpleNamespace(dim=2))

    def classify(self, path, head, progress=None, *, frames=0, threshold=None):
        print("a library that prints to stdout")
        name = path.split("/")[-1].split(".")[0]
        if name == "broken":
            raise SyncLipError(f"{path}: is not a media file")
        if name == "crash":
            raise RuntimeError("a fault of ours")
        if name == "stop":
            raise KeyboardInterrupt
        tokens = np.tile(np.array([[-1, 0]], np.float32), (50, 1))
        valid = np.full(50, name != "nobody")
        tokens[: 5 * int(name) if name.isdigit() else 0] *= -1
        return classify(tokens, tokens, valid, head, model="f00d", frames=frames, threshold=threshold, faces=1)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_head("head.safetensors", HEAD)

    def call(*argv):
        arguments = ["classify", *map(str, argv), "--head", "head.safetensors"]
        code = cli.main(arguments, pipeline=lambda args: FakePipeline())
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("files", "code"),
    [(["3.mp4"], 0), (["3.mp4", "nobody.mp4"], 3), (["nobody.mp4", "broken.mp4", "3.mp4"], 4), (["crash.mp4"], 4)],
)
def test_the_worst_file_sets_the_exit_code(run, files, code):
    assert run(*files)[0] == code


def test_a_line_a_file_and_then_what_went_wrong(run):
    _, out, err = run("3.mp4", "9.mp4", "nobody.mp4", "broken.mp4")
    lines = out.splitlines()
    assert "speaking 30 % of the time; mood: sad (" in lines[2] and "speaking 90 % of the time; mood: glad" in lines[3]
    assert "no face found: cannot tell" in lines[4] and lines[5].endswith("error")
    assert lines[-1] == "broken.mp4: is not a media file" and "a library that prints" in err


def test_json_is_one_array_and_nothing_else(run):
    _, out, _ = run("3.mp4", "broken.mp4", "--json")
    talks, broken = json.loads(out)
    assert tuple(talks) == tuple(broken) == JSON_KEYS and broken["error"] and not broken["labels"]
    speaking = talks["labels"][0]
    assert speaking["spans"] == [{"start_s": 0, "end_s": 0.6}] and speaking["share"] == 0.3


def test_tables_hold_files_and_frames(run, tmp_path):
    run("3.mp4", "nobody.mp4", "broken.mp4", "--csv", "files.csv", "--over-time", "frames.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "files.csv").read_text())))
    assert [row["file"] for row in rows] == ["3.mp4", "nobody.mp4", "broken.mp4"]
    assert [row["speaking_share"] for row in rows] == ["0.3", "", ""] and rows[2]["error"]
    frames = list(csv.DictReader(io.StringIO((tmp_path / "frames.csv").read_text())))
    assert len(frames) == 100 and frames[14]["time_s"] == "0.56"
    assert float(frames[14]["speaking"]) > 0.99 > 0.01 > float(frames[15]["speaking"]) and frames[60]["glad"] == ""
    code, _, err = run("3.mp4", "--csv", "no/such.csv")
    assert code == 4 and "does not exist" in err


def test_options_change_what_holds(run):
    shares = [json.loads(run("3.mp4", "--json", *more)[1])[0]["labels"] for more in ([], ["--frames", "16"])]
    assert shares[0][0]["probability"] != shares[1][0]["probability"] and shares[0][0]["share"] == shares[1][0]["share"]
    assert json.loads(run("3.mp4", "--json", "--threshold", "0.9999")[1])[0]["labels"][0]["share"] == 0
    for wrong in (["--threshold", "2"], ["--frames", "17"]):
        with pytest.raises(SystemExit) as stopped:
            run("3.mp4", *wrong)
        assert stopped.value.code == 2


def test_a_head_of_another_checkpoint_is_refused_before_the_work(run, capsys):
    save_head("other.safetensors", AttributeHead(GROUPS, HEAD.weight, HEAD.bias, "beef"))
    for name, words in (("other.safetensors", "of checkpoint beef"), ("none.safetensors", "no such file")):
        code = cli.main(["classify", "3.mp4", "--head", name], pipeline=lambda args: FakePipeline())
        assert code == 4 and words in capsys.readouterr().err


def test_ctrl_c_leaves_nothing(run, tmp_path):
    assert run("3.mp4", "stop.mp4", "--csv", "files.csv")[0] == 130 and not (tmp_path / "files.csv").exists()


def test_the_bundled_clip_without_its_sound(capsys, tmp_path):
    """The picture alone tells: the same answer with the sound and without it, and a picture without a face has none."""
    from synclip_core.media.video import iter_frames

    silent, moment, blank = (tmp_path / f"{name}.mp4" for name in ("silent", "moment", "blank"))
    pictures = [frame.image for frame in iter_frames(CLIP)]
    grey = [np.full((96, 128, 3), 90, np.uint8)] * 20
    for path, frames in ((silent, pictures), (moment, pictures[40:48]), (blank, grey)):
        with VideoWriter(path, frames[0].shape[1], frames[0].shape[0], 25) as writer:
            for picture in frames:
                writer.write(picture)
    assert cli.main(["classify", "--json", str(CLIP), str(silent), str(moment), str(blank)]) == 3
    with_sound, without, short, nobody = json.loads(capsys.readouterr().out)
    assert short["face_share"] > 0.9 and "s with a face" in short["warnings"][0] and not without["warnings"]
    assert nobody["words"] == "no face found: cannot tell" and nobody["face_share"] == 0
    assert with_sound["face_share"] > 0.9 and with_sound["labels"][0]["label"] == "speaking"
    for a, b in zip(with_sound["labels"], without["labels"], strict=True):
        assert a["share"] == pytest.approx(b["share"], abs=0.12), a["label"]
