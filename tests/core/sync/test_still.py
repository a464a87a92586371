"""Faces that should not talk, and the sound of another file: on pictures put together from real people."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from synclip_core import cli
from synclip_core.errors import SyncLipError
from synclip_core.media.audio import NativeAudio, read_audio_native
from synclip_core.media.video import iter_ticks
from synclip_core.media.writer import VideoWriter
from synclip_core.sync.report import ScoreReport
from synclip_core.sync.still import check_still, parse_still

LEFT = ("bbaf2n", "bbaf3s")
TALKER = "talk/Talking-Face_PC-AVS_04169c16.mp4"
SILENT = 20  # ticks before the first word in which a GRID speaker is alive and does not talk


def frames_of(path: Path) -> list[np.ndarray]:
    return [frame.image.copy() for _, frame in iter_ticks(path)]


def on_canvas(frame: np.ndarray, like: np.ndarray) -> np.ndarray:
    """In the middle of a black picture of that size."""
    canvas = np.zeros_like(like)
    top, left = (canvas.shape[0] - frame.shape[0]) // 2, (canvas.shape[1] - frame.shape[1]) // 2
    canvas[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return canvas


def beside(path: Path, left: list[np.ndarray], right: list[np.ndarray], sound: NativeAudio) -> Path:
    """Two pictures side by side, 25 fps."""
    height, width = left[0].shape[:2]
    with VideoWriter(path, 2 * width, height, 25, audio=sound, crf=12) as writer:
        for a, b in zip(left, right, strict=True):
            writer.write(np.concatenate([a, b], 1))
    return path


@pytest.fixture(scope="module")
def pictures(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The left one talks, in sync, for 6 s; the right one listens (the silent start of a sentence, to and fro), or
    talks too (other words)."""
    clips = [data_dir / "grid_s1" / f"{name}.mp4" for name in LEFT]
    left = [frame for clip in clips for frame in frames_of(clip)[:75]]
    sounds = [read_audio_native(clip) for clip in clips]
    rate = sounds[0].rate
    sound = NativeAudio(np.concatenate([s.samples[:, : 3 * rate] for s in sounds], 1), rate, sounds[0].layout)
    talks = [on_canvas(frame, left[0]) for frame in frames_of(data_dir / TALKER)[: len(left)]]
    quiet = frames_of(data_dir / "grid_more" / "s26_1f0f43ad.mp4")[2:SILENT]
    listens = ([*quiet, *quiet[::-1]] * 10)[: len(left)]
    folder = tmp_path_factory.mktemp("faces")
    return {
        "listens": beside(folder / "listens.mp4", left, listens, sound),
        "talks": beside(folder / "talks.mp4", left, talks, sound),
    }


@pytest.mark.parametrize(
    ("kind", "still", "code", "said"),
    [
        ("listens", "others", 0, ""),
        ("talks", "others", 1, "should be still and moves its mouth for"),
        ("listens", "154,180", 1, "should be still and its lips follow the voice"),
    ],
)
def test_a_face_that_should_be_still(
    kind: str, still: str, code: int, said: str, pictures: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["score", str(pictures[kind]), "--face", "0", "--still", still, "--json"]) == code
    (report,) = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "in_sync" and report["still"]
    assert said in report["words"] and (said or report["words"] == "in sync")
    for row in report["still"]:
        assert (int(row["face"].split(",")[0]) > 360) == (still == "others")
    if kind == "talks":
        assert sum(row["moves_s"] for row in report["still"]) > 3


def test_a_point_names_the_face_and_a_wrong_one_is_said() -> None:
    def report() -> ScoreReport:
        tracks = [
            {"face": "100,100", "box": [50, 50, 150, 150], "moves": [[0.5, 2.0]], "chosen": True, "verdict": None},
            {"face": "400,100", "box": [350, 50, 450, 150], "moves": [], "chosen": False, "verdict": "cannot_tell"},
        ]
        return ScoreReport("a.mp4", "in_sync", tracks=tracks)

    found = report()
    check_still(found, ["110,90"])
    assert found.still == [{"face": "100,100", "moves": [[0.5, 2.0]], "moves_s": 1.5, "follows": False}]
    assert found.words == "in sync; the face at 100,100 should be still and moves its mouth for 1.5 s"
    found = report()
    check_still(found, ["400,100", "900,900"])
    assert [row["moves"] for row in found.still] == [[], None]
    assert found.words == "in sync; no face at 900,900, which should be still"
    for wrong in ("left", "1", "1,2,3", "-1,2", ""):
        with pytest.raises(SyncLipError, match="expected others"):
            parse_still(wrong)


def test_the_sound_of_another_file_is_judged_and_named(data_dir: Path, tmp_path: Path, capsys) -> None:
    """Its own sound in a file of its own, 200 ms early; the video itself has none."""
    clip = data_dir / "grid_s1" / "bbaf3s.mp4"
    silent, voice = tmp_path / "silent.mp4", tmp_path / "voice.wav"
    frames = frames_of(clip)
    with VideoWriter(silent, frames[0].shape[1], frames[0].shape[0], 25, crf=12) as writer:
        for frame in frames:
            writer.write(frame)
    own = read_audio_native(clip)
    early = np.ascontiguousarray(own.samples[:, own.rate // 5 :])
    with av.open(str(voice), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=own.rate, layout=own.layout)
        frame = av.AudioFrame.from_ndarray(early, format="fltp", layout=own.layout)
        frame.sample_rate = own.rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    code = cli.main(["score", str(silent), "--audio", str(voice), "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    assert report["audio"] == str(voice) and report["audio_track"] == 0
    assert (code, report["verdict"]) == (1, "audio_early") and abs(report["lag_frames"] - 5) <= 1
    cli.main(["score", str(silent), "--audio", str(voice)])
    said = capsys.readouterr().out
    assert f"sound: {voice}" in said and "synclip align" not in said
    assert cli.main(["score", str(silent), "--audio", str(tmp_path / "none.wav")]) == 4
    assert "none.wav" in capsys.readouterr().out
