"""Speed and memory of the main job: a face video of one and of ten minutes at 1280 x 720, on the CPU.

    python -m benchmarks.score [--clip FILE] [--threads 2] > score.json

The clip (default: the bundled one) is scaled to 720p and repeated to the length. Each measurement is a process of its
own, so that its peak memory is its own. Reported: seconds, times real time, peak resident memory in MB, for `score`
(decode, detect, track, encode, measure), for `classify` (the same without the sound) and for the tokens alone (crops
and sound are in memory already).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=CLIP, help="a video with one face and a voice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        measure(*options.job, options.threads)
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
