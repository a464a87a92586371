"""What users really have, through the command line with the bundled model: a verdict or one clear sentence, a code, and
nothing half-written."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_clips import clicks, write_clip

from synclip_core import cli
from synclip_core.demo import CLIP
from synclip_core.media.audio import read_audio
from synclip_core.media.video import iter_ticks


@pytest.fixture(scope="module")
def head() -> tuple[list[np.ndarray], np.ndarray]:
    """The bundled clip: frames at 25 fps and 16 kHz sound."""
    frames = [frame.image for _, frame in iter_ticks(CLIP)]
    return frames, read_audio(CLIP)[: len(frames) * 640]


def write(path: Path, frames: list[np.ndarray], sound: np.ndarray | None, codec: str = "libx264", pix: str = "yuv420p"):
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options={"preset": "ultrafast"} if codec == "libx264" else {})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pix
        audio = None if sound is None else out.add_stream("aac", rate=16000, layout="mono")
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                piece = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 16000, start, Fraction(1, 16000)
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return path


def score(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["score", "--json", *options, str(path)])
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["file"] == str(path)
    return code, entry


def broken(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    if name == "text.mp4":
        path.write_text("this is not a video")
    elif name == "empty.mp4":
        path.write_bytes(b"")
    elif name == "sound only.m4a":
        write_clip(path, video_codec=None, audio=[clicks([0.5], 1, 48000)], container_format="ipod")
    elif name == "no sound.mp4":
        write_clip(path, frames=30)
    elif name == "moving.gif":
        write_clip(path, frames=10, fps=10, video_codec="gif", pix_fmt="rgb8")
    elif name == "folder.mp4":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.mp4", "text.mp4"),
        ("empty.mp4", "empty"),
        ("sound only.m4a", "no video"),
        ("no sound.mp4", "no audio"),
        ("moving.gif", "no audio"),
        ("missing.mp4", "missing.mp4"),
    ],
)
def test_what_cannot_be_scored_is_an_error_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    code, entry = score(broken(tmp_path, name), capsys)
    assert (code, entry["verdict"], entry["lag_frames"]) == (4, "error", None)
    assert words in entry["error"], entry["error"]


def test_what_cannot_be_judged_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: tuple[list[np.ndarray], np.ndarray]
) -> None:
    frames, sound = head
    cases = {
        "silence.mp4": (frames, np.zeros_like(sound)),
        "no face.mp4": ([np.full_like(frames[0], 90)] * 50, sound[: 50 * 640]),
        "one frame.mp4": (frames[:1], sound[:640]),
        "short.mp4": (frames[40:45], sound[40 * 640 : 45 * 640]),
    }
    paths = [write(tmp_path / name, pictures, wave) for name, (pictures, wave) in cases.items()]
    cut = tmp_path / "cut.mp4"  # its index is whole: what decodes is judged, and it is too little
    cut.write_bytes(CLIP.read_bytes()[:20000])
    for path in [*paths, cut]:
        code, entry = score(path, capsys)
        assert (code, entry["verdict"], entry["error"]) == (3, "cannot_tell", None), (path.name, entry)
        assert entry["lag_frames"] is None


def test_odd_pictures_still_give_the_lag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: tuple[list[np.ndarray], np.ndarray]
) -> None:
    frames, sound = head
    height, width = frames[0].shape[:2]
    gone = [np.zeros_like(f) if 60 <= i < 110 else f for i, f in enumerate(frames)]
    two = [np.concatenate([frames[(i + 97) % len(frames)], f], 1) for i, f in enumerate(frames)]
    odd = [f[: height - 1, : width - 3] for f in frames]
    cases: dict[str, tuple[list[np.ndarray], str, str, tuple[str, ...]]] = {
        "face only in some frames.mp4": (gone, "libx264", "yuv420p", ()),
        "the speaker is on the right.mp4": (two, "libx264", "yuv420p", ("--face", "speaker")),
        "odd size.mkv": (odd, "ffv1", "bgr0", ()),
        "alpha.mkv": (frames, "ffv1", "bgra", ()),
        "ten bit.mkv": (frames, "ffv1", "yuv420p10le", ()),
        "Ünïcödé und Leerzeichen 口.mp4": (frames, "libx264", "yuv420p", ()),
    }
    for name, (pictures, codec, pix, options) in cases.items():
        code, entry = score(write(tmp_path / name, pictures, sound, codec, pix), capsys, *options)
        assert (code, entry["verdict"]) == (0, "in_sync"), (name, entry)
        assert entry["faces"] >= (2 if options else 1), (name, entry)
    code, entry = score(tmp_path / "the speaker is on the right.mp4", capsys, "--face", "0")
    assert entry["verdict"] != "in_sync", entry  # the left head speaks something else


def test_missing_face_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: tuple[list[np.ndarray], np.ndarray]
) -> None:
    frames, sound = head
    gone = [np.zeros_like(f) if 60 <= i < 110 else f for i, f in enumerate(frames)]
    path = write(tmp_path / "gone.mp4", gone, sound)
    for policy in ("hold", "interpolate", "skip"):
        assert score(path, capsys, "--missing", policy)[1]["verdict"] == "in_sync", policy
    code, entry = score(path, capsys, "--missing", "error")
    assert (code, entry["verdict"]) == (4, "error") and "face" in entry["error"]


def test_a_full_disk_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    out = tmp_path / "tokens.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # the system refuses to write on, as when full
    try:
        code = cli.main(["tokens", str(CLIP), "-o", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 4 and list(tmp_path.iterdir()) == []
    assert "tokens.safetensors" in capsys.readouterr().err
