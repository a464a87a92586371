"""The command line with a pipeline of its own making: what is printed, where, and with which exit code."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synclip_core import cli
from synclip_core.cli.shared import table
from synclip_core.cli.shared.inputs import expand
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.media.audio import read_audio
from synclip_core.sync.align import write_aligned
from synclip_core.sync.report import JSON_KEYS, ScoreReport
from synclip_core.tokens.token_file import read_tokens


@dataclass
class Streams:
    audio: np.ndarray
    vocal: np.ndarray
    speech: np.ndarray
    valid: np.ndarray
    faces: int = 1


class FakePipeline:
    """Judges by the file's name: sync.mp4, early3.mp4, late2.mp4, silent.mp4, broken.mp4, crash.mp4, stop.mp4."""

    def __init__(self):
        self.scored = []

    def score(self, path, progress=None):
        self.scored.append(path)
        name = path.replace("\\", "/").rsplit("/", 1)[-1]
        print("a library that prints to stdout")
        if progress:
            progress(1, 2)
            progress(2, 2)
        if name.startswith("broken"):
            raise SyncLipError(f"{path}: is not a media file")
        if name.startswith("crash"):
            raise RuntimeError("a fault of ours")
        if name.startswith("stop"):
            raise KeyboardInterrupt
        if name.startswith("silent"):
            return ScoreReport(path, "cannot_tell", confidence=0.01, duration_s=2.0)
        window = {"start_s": 0.0, "end_s": 2.0, "lag_frames": 3, "confidence": 0.2, "speech": 1.0}
        common = {"score": 0.3, "confidence": 0.25, "duration_s": 2.0, "faces": 1, "windows": [window]}
        if name.startswith("early"):
            return ScoreReport(path, "audio_early", lag_frames=3, **common)
        if name.startswith("late"):
            return ScoreReport(path, "audio_late", lag_frames=-2, **common)
        return ScoreReport(path, "in_sync", lag_frames=0, **common)

    checkpoint = SimpleNamespace(sha256="f00d")

    def tokens(self, path, progress=None):
        if "broken" in path:
            raise SyncLipError(f"{path}: is not a media file")
        seen = np.ones(5, bool)
        return Streams(np.ones((5, 4), np.float32), np.full((5, 4), 2, np.float32), seen, ~seen)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake = FakePipeline()

    def call(*argv):
        code = cli.main([str(a) for a in argv], pipeline=lambda args: fake)
        out, err = capsys.readouterr()
        return code, out, err

    call.fake = fake
    return call


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["sync.mp4"], 0),
        (["early3.mp4"], 1),
        (["late2.mp4", "sync.mp4"], 1),
        (["silent.mp4", "late2.mp4"], 3),
        (["silent.mp4", "broken.mp4", "sync.mp4"], 4),
        (["crash.mp4", "sync.mp4"], 4),
    ],
)
def test_the_worst_file_sets_the_exit_code(run, files, code):
    assert run("score", *files)[0] == code


def test_json_is_one_array_and_nothing_else(run):
    code, out, err = run("score", "sync.mp4", "early3.mp4", "silent.mp4", "broken.mp4", "--json")
    data = json.loads(out)
    assert [d["file"] for d in data] == ["sync.mp4", "early3.mp4", "silent.mp4", "broken.mp4"]
    assert all(tuple(d) == JSON_KEYS for d in data)
    assert [d["verdict"] for d in data] == ["in_sync", "audio_early", "cannot_tell", "error"]
    assert [d["lag_ms"] for d in data] == [0, 120, None, None]
    assert data[3]["error"] == "broken.mp4: is not a media file"
    assert "a library that prints" in err and code == 4


def test_table_speaks_plainly(run):
    _, out, _ = run("score", "late2.mp4", "early3.mp4", "broken.mp4")
    assert "audio is 80 ms late" in out and "audio is 120 ms early" in out and "-2 f" in out and "+3 f" in out
    assert "broken.mp4: is not a media file" in out
    assert "3 files: 2 out of sync, 1 failed" in out
    assert "\033[" not in out  # no colour where nobody watches


def test_one_file_out_of_sync_gets_advice(run):
    assert "synclip align early3.mp4 -o early3-aligned.mp4" in run("score", "early3.mp4")[1]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_table_fits_the_terminal(width):
    name = "/a/very/long/path/to/a/folder/of/many/videos/" + "x" * 60 + "/interview-final.mp4"
    reports = [
        ScoreReport(name, "audio_early", lag_frames=12, score=0.1, confidence=0.2, duration_s=3600.5),
        ScoreReport("b.mp4", "in_sync", lag_frames=0, score=0.1, confidence=0.2, duration_s=1.0),
    ]
    lines = table.render(reports, width).splitlines()
    assert max(map(len, lines[:4])) <= width
    assert "final.mp4" in lines[2] and "audio is 480 ms early" in lines[2]


def test_colour_only_where_asked():
    report = ScoreReport("a.mp4", "in_sync", lag_frames=0)
    assert "\033[32m" in table.render([report], 80, colour=True)
    assert "\033[" not in table.render([report], 80)


def test_a_narrow_encoding_does_not_fail():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    table.write(table.render([ScoreReport("日本 \udcff.mp4", "in_sync", lag_frames=0)], 80), stream)
    stream.flush()
    assert b"in sync" in stream.buffer.getvalue()


def test_folders_and_patterns_are_expanded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.MOV", "notes.txt", "deep/c.mkv", ".hidden.mp4", "[x].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    assert expand(["."]) == ["./[x].mp4", "./a.MOV", "./b.mp4", "./deep/c.mkv"]
    assert expand(["*.mp4", "b.mp4"]) == ["[x].mp4", "b.mp4"]  # each once
    assert expand(["[x].mp4"]) == ["[x].mp4"]  # a name that looks like a pattern
    assert expand(["**/*.mkv"]) == ["deep/c.mkv"]
    nothing = expand(["empty", "*.avi"])
    assert all(isinstance(entry, SyncLipError) for entry in nothing)
    assert str(nothing[0]).startswith("empty: no video") and str(nothing[1]).startswith("*.avi: nothing matches")


def test_an_empty_folder_is_an_error_entry(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, _ = run("score", "empty", "sync.mp4", "--json")
    assert code == 4 and [d["file"] for d in json.loads(out)] == ["empty", "sync.mp4"]


def test_csv_holds_a_row_a_file(run, tmp_path):
    run("score", "early3.mp4", "broken.mp4", "--csv", "out.csv")
    rows = list(csv.DictReader(open(tmp_path / "out.csv", encoding="utf-8")))
    assert rows[0]["lag_frames"] == "3" and rows[0]["words"] == "audio is 120 ms early"
    assert rows[1]["verdict"] == "error" and rows[1]["lag_frames"] == ""


def test_a_missing_output_folder_is_said_before_the_work(run):
    code, out, err = run("score", "sync.mp4", "--csv", "missing/out.csv")
    assert code == 4 and out == "" and "missing does not exist" in err and run.fake.scored == []


def test_ctrl_c_leaves_nothing(run, tmp_path):
    code, out, err = run("score", "sync.mp4", "stop.mp4", "--json", "--csv", "out.csv")
    assert code == 130 and out == "" and "stopped" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [[], ["score"], ["score", "a.mp4", "--face", "left"], ["score", "a.mp4", "--threads", "0"], ["align", "a.mp4"]],
)
def test_wrong_usage_is_2(argv):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv, pipeline=lambda args: FakePipeline())
    assert stop.value.code == 2


@pytest.mark.parametrize("face", ["auto", "speaker", "1", "320,180"])
def test_options_reach_the_pipeline(face):
    seen = []
    argv = ["score", "sync.mp4", "--face", face, "--missing", "skip"]
    cli.main(argv, pipeline=lambda args: seen.append(args) or FakePipeline())
    assert (seen[0].face, seen[0].missing) == (face, "skip")


def test_help_documents_the_exit_codes(capsys):
    for argv in (["--help"], ["score", "--help"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(argv)
        text = " ".join(capsys.readouterr().out.split())
        assert stop.value.code == 0 and "3 some could not be judged" in text and "130 stopped by Ctrl-C" in text


def test_tokens_are_written_whole(run, tmp_path):
    code, out, _ = run("tokens", "sync.mp4", "-o", "t.safetensors")
    file = read_tokens(tmp_path / "t.safetensors")
    assert code == 0 and set(file.arrays) == {"audio", "vocal", "speech", "valid"} and file.arrays["vocal"][0, 0] == 2
    assert (file.model, file.faces) == ("f00d", 1) and file.arrays["speech"].all() and not file.arrays["valid"].any()
    assert "vocal [5, 4]" in out
    code, _, err = run("tokens", "broken.mp4", "-o", "u.safetensors")
    assert code == 4 and "broken.mp4" in err and [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


def _delay_ms(file, of=CLIP):
    """By how much later the sound of `file` comes than that of `of`."""
    a, b = read_audio(of), read_audio(file)
    spectrum = np.fft.rfft(b, 2 * len(b)) * np.conj(np.fft.rfft(a, 2 * len(a)))
    peak = int(np.argmax(np.fft.irfft(spectrum)))
    return (peak if peak < len(a) else peak - 2 * len(a)) / 16


def test_align_moves_the_sound_by_what_was_measured(run, tmp_path):
    (tmp_path / "early3.mp4").write_bytes(CLIP.read_bytes())  # the fake says +3: the sound has to come 120 ms later
    code, out, _ = run("align", "early3.mp4", "-o", "fixed.mp4")
    assert code == 0 and "audio moved 120 ms later" in out
    assert _delay_ms(tmp_path / "fixed.mp4") == pytest.approx(120, abs=1)


def test_align_copies_what_is_in_sync(run, tmp_path):
    code, out, _ = run("align", CLIP, "-o", "same.mp4")
    assert code == 0 and "copied as it is" in out and (tmp_path / "same.mp4").read_bytes() == CLIP.read_bytes()
    code, out, _ = run("align", CLIP, "-o", "same.mkv")
    assert code == 0 and "audio not moved" in out and (tmp_path / "same.mkv").exists()


def test_align_with_a_given_lag_does_not_measure(run, tmp_path):
    code, out, _ = run("align", CLIP, "-o", "fixed.mp4", "--lag", "-2")
    assert code == 0 and "80 ms earlier" in out and run.fake.scored == []
    assert _delay_ms(tmp_path / "fixed.mp4") == pytest.approx(-80, abs=1)


def test_align_writes_nothing_where_it_cannot_tell(run, tmp_path):
    (tmp_path / "silent.mp4").write_bytes(CLIP.read_bytes())
    code, _, err = run("align", "silent.mp4", "-o", "fixed.mp4")
    assert code == 3 and "Nothing was written" in err and not (tmp_path / "fixed.mp4").exists()


def test_align_never_overwrites_its_input(run, tmp_path):
    (tmp_path / "early3.mp4").write_bytes(CLIP.read_bytes())
    code, _, err = run("align", "early3.mp4", "-o", "./early3.mp4")
    assert code == 4 and "input itself" in err
    assert (tmp_path / "early3.mp4").read_bytes() == CLIP.read_bytes()


class ListeningPipeline(FakePipeline):
    """Finds the lag of copies of the bundled clip by their sound: what a perfect model would say."""

    def score(self, path, progress=None):
        lag = -round(_delay_ms(path) / 40)
        verdict = "in_sync" if abs(lag) <= 1 else "audio_early" if lag > 0 else "audio_late"
        return ScoreReport(path, verdict, lag_frames=lag, score=0.3, confidence=0.3, duration_s=11.3)


def test_demo_injects_what_it_says_and_repairs_it(capsys):
    code = cli.main(["demo"], pipeline=lambda args: ListeningPipeline())
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.endswith(" ok")]
    assert code == 0 and len(rows) == 4
    assert "audio is 200 ms early" in rows[1] and "audio is 280 ms late" in rows[2] and "in sync" in rows[3]
    assert "synclip score VIDEO.mp4" in out


def test_demo_says_so_when_a_lag_is_missed(capsys):
    code = cli.main(["demo"], pipeline=lambda args: FakePipeline())  # always "in sync"
    out, err = capsys.readouterr()
    assert code == 4 and "WRONG" in out and "Not every lag was found" in err


def test_plot_shows_the_worst_frames(run, tmp_path):
    (tmp_path / "early3.mp4").write_bytes(CLIP.read_bytes())
    assert run("score", "early3.mp4", "--plot", "out.png")[0] == 1
    picture = Image.open(tmp_path / "out.png")
    assert picture.size == (2400, 1720)
    strip = np.asarray(picture.convert("RGB"))[1340:1600, 120:480].reshape(-1, 3)
    assert len(np.unique(strip, axis=0)) > 500  # a picture of the clip, not an empty panel


def test_plots_of_several_files_keep_apart(run, tmp_path):
    run("score", "sync.mp4", "deep/sync.mp4", "broken.mp4", "--plot", "out.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out-broken.png", "out-sync-2.png", "out-sync.png"]


def test_interrupted_process_exits_130(tmp_path):
    """A real process and a real signal, while the file is being measured."""
    program = (
        "import sys, time, argparse\n"
        "from synclip_core import cli\n"
        "class P:\n"
        "    def score(self, path, progress=None):\n"
        "        print('ready', file=sys.stderr, flush=True); time.sleep(30)\n"
        "sys.exit(cli.main(['score', 'a.mp4', '--json'], pipeline=lambda args: P()))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
    )
    while "ready" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(2)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and out == ""


def test_bundled_clip_can_be_shifted(tmp_path):
    """The demo's way of putting a lag in: repairing the opposite one."""
    write_aligned(CLIP, tmp_path / "shifted.mp4", -5)
    assert _delay_ms(tmp_path / "shifted.mp4") == pytest.approx(-200, abs=1)
