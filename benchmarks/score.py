"""Speed and memory of the main job: a face video of one and of ten minutes at 1280 x 720, on the CPU.

    python -m benchmarks.score [--clip FILE] [--threads 2] > score.json
    python -m benchmarks.score --against REF [--seconds 60] [--runs 5]

The clip (default: the bundled one) is scaled to 720p and repeated to the length. Each measurement is a process of its
own, so that its peak memory is its own. Reported: seconds, times real time, peak resident memory in MB, for `score`
(decode, detect, track, encode, measure), for `classify` (the same without the sound) and for the tokens alone (crops
and sound are in memory already).

--against: `score` of this checkout beside that of a git ref, run in turns as whole processes, start-up included:
medians of wall and CPU seconds, the answers of both, and the physical limit (decoding, and one detection a second).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.shared.long_clip import write_clip
from benchmarks.shared.memory import memory_mb
from synclip_core.clock import TICK_RATE
from synclip_core.demo import CLIP

JOBS = ("score", "classify", "tokens")


def measure(job: str, path: str, threads: int) -> None:
    """In the child process: print one JSON object."""
    import torch

    from synclip_core.media.audio import read_audio
    from synclip_core.media.info import probe
    from synclip_core.pipeline import SyncPipeline

    torch.set_num_threads(threads)
    pipeline = SyncPipeline()
    seconds = probe(path).duration_s
    if job == "score":
        started = time.perf_counter()
        report = pipeline.score(path)
        extra = {"verdict": report.verdict, "lag_frames": report.lag_frames}
    elif job == "classify":
        started = time.perf_counter()
        extra = {"words": pipeline.classify(path).words}
    else:
        size = pipeline.model.config.visual.crop_size
        crops = np.random.default_rng(0).integers(0, 255, (round(seconds * TICK_RATE), size, size, 3), dtype=np.uint8)
        wave = read_audio(path)
        pipeline.audio_tokens(wave[:16000])
        started = time.perf_counter()
        prompts = np.concatenate([pipeline.encode_crops(crops[i : i + 32]) for i in range(0, len(crops), 32)])
        pipeline.vocal_tokens(prompts[:, 1], np.ones(len(prompts), bool))
        pipeline.audio_tokens(wave)
        extra = {}
    spent = time.perf_counter() - started
    peak = memory_mb("VmHWM")
    result = {"seconds": round(spent, 2), "x_real_time": round(spent / seconds, 3), "peak_mb": round(peak)}
    print(json.dumps(result | extra))


def once(root: Path, threads: int, path: str) -> dict[str, Any]:
    """`score` by the sources in root: its JSON, with wall_s and cpu_s of the whole process."""
    command = [sys.executable, "-m", "benchmarks.score", "--threads", str(threads), "--job", "score", path]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(root)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return json.loads(done.stdout) | {"wall_s": round(time.perf_counter() - started, 2), "cpu_s": round(cpu, 2)}


def physical_limit(path: str, threads: int) -> dict[str, float]:
    """Seconds of wall and CPU for decoding every picture and one detection a second."""
    import torch

    from synclip_core.faces.detect.blazeface import BlazeFace
    from synclip_core.media.video import TickReader

    torch.set_num_threads(threads)
    detector = BlazeFace()
    started, cpu = time.perf_counter(), time.process_time()
    for tick, frame in TickReader(path, parts=True):
        if tick % TICK_RATE == 0:
            detector.detect([np.asarray(frame.image)])
    return {"wall_s": round(time.perf_counter() - started, 2), "cpu_s": round(time.process_time() - cpu, 2)}


def against(ref: str, clip: Path, seconds: int, runs: int, threads: int) -> dict[str, Any]:
    """Both versions on one video, in turns."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        there, path = Path(folder) / "ref", Path(folder) / "long.mp4"
        write_clip(clip, path, seconds)
        subprocess.run(["git", "worktree", "add", "-q", "--detach", there, ref], check=True, cwd=here)
        try:
            turns = [
                {"ref": once(there, threads, str(path)), "this": once(here, threads, str(path))} for _ in range(runs)
            ]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", there], check=True, cwd=here)
        limit = physical_limit(str(path), threads)
    rows: dict[str, Any] = {"against": ref, "seconds": seconds, "threads": threads, "runs": runs, "limit": limit}
    for name in ("ref", "this"):
        found = [turn[name] for turn in turns]
        middle = {key: median(row[key] for row in found) for key in ("wall_s", "cpu_s", "peak_mb")}
        answer = {key: found[0][key] for key in ("verdict", "lag_frames")}
        rows[name] = middle | {"x_real_time": round(middle["wall_s"] / seconds, 3)} | answer
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=CLIP, help="a video with one face and a voice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--against", metavar="REF", help="a git ref to run beside this checkout")
    parser.add_argument("--seconds", type=int, default=60, help="of --against")
    parser.add_argument("--runs", type=int, default=5, help="of --against")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        measure(*options.job, options.threads)
        return 0
    if options.against:
        print(
            json.dumps(against(options.against, options.clip, options.seconds, options.runs, options.threads), indent=1)
        )
        return 0
    report: dict[str, object] = {"threads": options.threads, "clip": options.clip.name}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            path = Path(folder) / f"{minutes}.mp4"
            write_clip(options.clip, path, 60 * minutes)
            for job in options.jobs:
                if job == "tokens" and minutes > 1:
                    continue
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.score",
                    "--threads",
                    str(options.threads),
                    "--job",
                    job,
                    str(path),
                ]
                environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                report[f"{job}_{minutes}min"] = json.loads(done.stdout)
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
