"""`python -m benchmarks.kills --config FILE --data SHARDS`: a run killed again and again against an unbroken one.

Both train on CPU processes with DeepSpeed. The second is killed (SIGKILL, all processes) at random moments and started
again each time, once with half of the processes unless --same. Prints JSON: the losses of the last step and the largest
difference of the weights. From two processes to one and back both are 0; more processes add their gradients up in an
order that depends on how many they are (gloo and NCCL reduce in rings), so that there the last digits differ.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent


def processes(
    arguments: Sequence[str], count: int, program: str = "train.pretrain", **settings: Any
) -> list[subprocess.Popen]:
    """`python -m PROGRAM ARGUMENTS` on the CPU, joined by a port of their own. settings: of Popen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", program, "--device", "cpu", *arguments]
    world = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            command, env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=ROOT, **settings
        )
        for rank in range(count)
    ]


def start(options: argparse.Namespace, out: Path, count: int) -> list[subprocess.Popen]:
    """The processes of a run; what they say goes to a file beside it."""
    paths = {"--config": options.config, "--data": options.data, "--deepspeed": options.deepspeed, "--out": out}
    arguments = [text for name, path in paths.items() for text in (name, str(Path(path).resolve()))]
    with open(out.with_suffix(".log"), "ab") as log:
        return processes(arguments, count, stdout=log, stderr=log)


def finish(running: list[subprocess.Popen], out: Path) -> None:
    if any([process.wait() for process in running]):
        raise SystemExit(f"a process failed; see {out.with_suffix('.log')}")


def last_loss(out: Path) -> float:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return next(row["total"] for row in reversed(rows) if "total" in row)


def saved_step(out: Path) -> int:
    path = out / "last.safetensors"
    if not path.exists():
        return 0
    with safe_open(str(path), "pt") as file:
        return int(file.metadata()["step"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--deepspeed", default="train/configs/deepspeed/zero2.json")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--same", action="store_true", help="the same number of processes throughout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder to keep; a temporary one if not given")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="synclip-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    whole, broken = folder / "whole", folder / "broken"
    began = time.monotonic()
    finish(start(options, whole, options.processes), whole)
    seconds = time.monotonic() - began
    moments, chance = [], random.Random(options.seed)
    steps = saved_step(whole)
    for number, target in enumerate(sorted(chance.randrange(1, steps - 1) for _ in range(options.kills))):
        halved = number == options.kills // 2 and not options.same
        running = start(options, broken, max(1, options.processes // 2) if halved else options.processes)
        while saved_step(broken) < target and running[0].poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 2 * seconds / steps))  # in the middle of a step, of writing, of anything
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        ended = running[0].returncode == 0
        moments.append({"processes": len(running), "saved_step": saved_step(broken), "had_ended": ended})
    finish(start(options, broken, options.processes), broken)
    ours, theirs = (load_file(run / "last.safetensors") for run in (whole, broken))
    apart = max(float((ours[k] - theirs[k]).abs().max()) for k in ours if k.startswith("model."))
    losses = [last_loss(whole), last_loss(broken)]
    report = {
        "unbroken_s": round(seconds, 1),
        "kills": moments,
        "loss_unbroken": losses[0],
        "loss_broken": losses[1],
        "loss_difference": abs(losses[0] - losses[1]),
        "largest_weight_difference": apart,
        "torch": torch.__version__,
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
