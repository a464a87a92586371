"""A long video in a real ComfyUI on the CPU: memory above idle, and how soon a cancel ends the run.

    python -m benchmarks.comfy [--minutes 10] [--height 1080] [--threads 2] > comfy.json

Needs a ComfyUI workspace (COMFYUI_DIR, or comfy-cli's default) and pytest, whose helpers start the server. The graph is
workflows/api/score_video.json. Cancels are asked for at several moments of the same run; their times are in seconds.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.shared.long_clip import write_clip
from benchmarks.shared.memory import memory_mb
from synclip_core.demo import CLIP
from tests.helpers.comfy_common import Server, running, workflow


class Watch:
    """The largest resident memory of a process, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.on = pid, 0.0, True
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while self.on:
            self.peak = max(self.peak, memory_mb("VmRSS", self.pid))
            time.sleep(0.1)

    def stop(self) -> float:
        self.on = False
        self.thread.join()
        return self.peak


def cancelled_after(server: Server, graph: dict, wait_s: float) -> float:
    """Seconds from the request to the end of the run."""
    prompt = server.queue(graph)
    time.sleep(wait_s)
    server.json("/interrupt", {})
    asked = time.monotonic()
    history = server.wait(prompt, 60)
    spent = time.monotonic() - asked
    kinds = [kind for kind, _ in history["status"]["messages"]]
    assert "execution_interrupted" in kinds, f"the run had ended by itself after {wait_s} s"
    return round(spent, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        size = (options.height * 16 // 9 // 2 * 2, options.height)
        write_clip(CLIP, server.base / "input" / "long.mp4", 60 * options.minutes, size)
        server.put(CLIP, "short.mp4")
        graph = workflow("score_video", n1__file="long.mp4")
        idle = memory_mb("VmRSS", server.process.pid)
        cancels = [cancelled_after(server, graph, wait_s) for wait_s in (0.5, 3, 10, 20)]
        began, watch = time.monotonic(), Watch(server.process.pid)
        said = server.run(graph)["2"]["synclip_report"][0]
        spent, peak = time.monotonic() - began, watch.stop()
        after = server.run(workflow("score_video", n1__file="short.mp4"))["2"]["synclip_report"][0]
    report = {
        "video": f"{options.minutes} min, {size[0]}x{size[1]}",
        "threads": options.threads,
        "idle_mb": round(idle),
        "peak_above_idle_mb": round(peak - idle),
        "seconds": round(spent, 1),
        "x_real_time": round(spent / (60 * options.minutes), 3),
        "verdict": said["verdict"],
        "lag_frames": said["lag_frames"],
        "cancelled_after_s": cancels,
        "next_prompt": after["verdict"],
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
