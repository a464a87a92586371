"""What dubbing costs beside the video model, and that memory does not grow with the length of the video.

    python -m benchmarks.dubbing [--frames 300 7500] > dubbing.json

The bundled clip is scaled and repeated to each length and dubbed by a painter that gives back what it gets, in a
process of its own. Reported: frames in and out, seconds for following the face and for the rest (decode, crop, colours,
paste, encode), milliseconds a frame, peak resident memory in MB. The last line of the report compares the lengths.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared.long_clip import write_clip
from benchmarks.shared.memory import memory_mb
from synclip_core.clock import TICK_RATE
from synclip_core.demo import CLIP


def measure(path: Path, crop: int) -> None:
    """In the child process: print one JSON object."""
    from synclip_core.dubbing.face import follow_face
    from synclip_core.dubbing.job import dub
    from synclip_core.media.video import iter_frames

    started = time.perf_counter()
    face = follow_face(path, crop)
    followed = time.perf_counter()
    target = path.with_name("dubbed.mp4")
    dub(path, target, face, lambda crops, *_: crops)
    ended = time.perf_counter()
    peak = memory_mb("VmHWM")
    frames = sum(1 for _ in iter_frames(target))
    result = {
        "frames_in": len(face.ticks),
        "frames_out": frames,
        "face_s": round(followed - started, 1),
        "rest_s": round(ended - followed, 1),
        "ms_a_frame": round(1000 * (ended - started) / frames, 1),
        "peak_mb": round(peak),
    }
    print(json.dumps(result))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 7500])
    parser.add_argument("--size", type=int, nargs=2, default=[640, 360], metavar=("W", "H"))
    parser.add_argument("--crop", type=int, default=256, help="side of the face crops, pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        measure(options.job, options.crop)
        return 0
    report: dict[str, object] = {"threads": options.threads, "size": options.size, "crop": options.crop}
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in options.frames:
            path = Path(folder) / "long.mp4"
            write_clip(CLIP, path, frames // TICK_RATE, tuple(options.size))
            command = [sys.executable, "-m", "benchmarks.dubbing", "--crop", str(options.crop), "--job", str(path)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            report[f"{frames}_frames"] = json.loads(done.stdout)
            peaks.append(json.loads(done.stdout)["peak_mb"])
    report["peak_grows_mb"] = peaks[-1] - peaks[0]
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
