"""Damaged files end in data or in a SyncLipError, never in a crash, a hang or a memory bomb.

`SYNCLIP_FUZZ=400 pytest tests/test_fuzz.py` runs more mutations. They run in child processes, so that a crash inside
FFmpeg or a hang is a failed test with the seed in its name, not a dead test run.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from media_clips import clicks, write_clip

ROOT = Path(__file__).resolve().parents[3]
COUNT = int(os.environ.get("SYNCLIP_FUZZ", "60"))
BATCH = 20
LIMIT_S = 20  # for one file
MEMORY = 3 << 30  # address space of a child, several times what a clip needs

SEEDS = [
    ("a.mp4", "libx264", "yuv420p", "aac", "stereo"),
    ("b.mkv", "libx264", "yuv420p", "libopus", "mono"),
    ("c.webm", "libvpx", "yuv420p", "libopus", "stereo"),
    ("d.mov", "mpeg4", "yuv420p", "pcm_s16le", "mono"),
    ("e.ts", "libx264", "yuv420p", "aac", "mono"),
    ("f.avi", "mpeg4", "yuv420p", "libmp3lame", "stereo"),
    ("g.gif", "gif", "rgb8", None, ""),
    ("h.mkv", "ffv1", "yuv420p10le", "flac", "5.1"),
]


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One of: flipped bytes, a damaged header, extreme numbers, a cut, a removed, repeated or zeroed part."""
    changed = bytearray(data)
    kind = rng.integers(7)
    spot = int(rng.integers(len(changed)))
    length = int(rng.integers(1, max(2, len(changed) // 4)))
    if kind == 0:
        for at in rng.integers(len(changed), size=rng.integers(1, 60)):
            changed[at] = rng.integers(256)
    elif kind == 1:  # headers lie at the front (and, in MP4, at the back)
        near = min(len(changed), 3000)
        for at in rng.integers(near, size=rng.integers(1, 12)):
            changed[at if rng.random() < 0.5 else -1 - at] = rng.integers(256)
    elif kind == 2:
        for at in rng.integers(len(changed), size=rng.integers(1, 8)):
            changed[at : at + 4] = [b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"][rng.integers(4)]
    elif kind == 3:
        del changed[spot:]
    elif kind == 4:
        del changed[spot : spot + length]
    elif kind == 5:
        changed[spot:spot] = changed[spot : spot + length]
    else:
        changed[spot : spot + length] = bytes(len(changed[spot : spot + length]))
    return bytes(changed)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for name, video, pixels, audio, layout in SEEDS:
        channels = {"mono": 1, "stereo": 2, "5.1": 6, "": 0}[layout]
        sound = [clicks([0.5, 1.0], 1.2, 48_000, channels)] if audio else []
        write_clip(
            folder / name,
            frames=30,
            video_codec=video,
            pix_fmt=pixels,
            audio=sound,
            layout=layout,
            audio_codec=audio or "aac",
            options={"crf": "30", "preset": "ultrafast"} if video == "libx264" else {},
        )
    return folder


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_mutations(seeds, tmp_path, first):
    names = sorted(os.listdir(seeds))
    jobs = []
    for number in range(first, min(first + BATCH, COUNT)):
        rng = np.random.default_rng(number)
        name = names[number % len(names)]
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(mutate((seeds / name).read_bytes(), rng))
        jobs.append(path)
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, jobs)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = child.communicate(timeout=LIMIT_S * len(jobs))
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
    lines = out.split("\n")
    done = [line for line in lines if line.startswith(("ok", "refused"))]
    assert child.returncode == 0 and len(done) == len(jobs), f"{lines[-3:]}, exit {child.returncode}\n{err[-2000:]}"


def main(paths: list[str]) -> None:
    """The child: read each file through every door. An alarm stands for the time limit of a file."""
    import resource
    import signal

    sys.path.insert(0, str(ROOT))
    from synclip_core.errors import SyncLipError
    from synclip_core.media.info import probe
    from synclip_core.media.video import iter_ticks

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills: a hang inside FFmpeg never returns to Python
    for path in paths:
        print("start", path, flush=True)
        signal.alarm(LIMIT_S)
        answers = []
        for read in (probe, lambda p: sum(1 for _ in iter_ticks(p)), read_all):
            try:
                answers.append(str(read(path))[:30])
            except SyncLipError as error:
                assert path in str(error) and len(str(error)) < 1000, f"unclear: {error}"
                answers.append("SyncLipError")
        print("refused" if answers[0] == "SyncLipError" else "ok", path, answers[1:], flush=True)

    signal.alarm(0)


def read_all(path: str) -> int:
    from synclip_core.media.audio import iter_audio

    size = 0
    for block in iter_audio(path):
        assert np.isfinite(block).all() and np.abs(block).max(initial=0) <= 1
        size += block.size
    assert size % 640 == 0
    return size


if __name__ == "__main__":
    main(sys.argv[1:])
