"""A few real steps of a config on random data: does the plan agree with the machine?"""

import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from synclip_core.device import usable
from train.data.sampling import Batch
from train.pretrain.config import PretrainConfig
from train.pretrain.run import Run

from .activations import activations
from .flops import meta_run, parameters, random_batch, step_flops, without_weights
from .hardware import GPUS
from .live import LiveTensors
from .states import AUTOCAST, FP32, states

WARM_UP = 2


def process_peak() -> float | None:
    """Most bytes that the process has had in memory; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def tensor_peak(run: Run, parts: list[Batch], device: str) -> float:
    """Most bytes of tensors in a step: the allocator's own count on a GPU, LiveTensors elsewhere."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        run.learn(parts)
        return float(torch.cuda.max_memory_allocated(device))
    moments = [value for state in run.optimizer.state.values() for value in state.values()]
    present = [
        *run.model.parameters(),
        *run.average.parameters(),
        *moments,
        *(x for part in parts for x in (part.crops, part.audio)),
    ]
    run.optimizer.zero_grad(set_to_none=True)
    with LiveTensors(present) as live:
        run.learn(parts)
    return float(live.peak)


def measure(config: PretrainConfig, stage_index: int, device: str, steps: int) -> dict[str, Any]:
    """Run `steps` steps of train.pretrain after a warm-up; figures as planned and as measured, side by side.

    The FLOPs of a step are counted once more on the device itself. On a CPU without the fused attention, of which the
    counter knows nothing there; a GPU's is counted with what it computes again in its backward pass.
    Raises SyncLipError when the device is not there.
    """
    usable(device)
    plan = meta_run(config)
    planned = step_flops(plan, stage_index)
    counts = parameters(plan.model).values()
    stage, precision = plan.stage, AUTOCAST if config.optim.bf16 else FP32
    held = states(sum(a for a, _ in counts), sum(b for _, b in counts), precision, 0, 1)
    part = replace(stage, clips=stage.clips // config.optim.accumulate)
    kept = activations(config.model, part, precision, config.optim.checkpointing)
    del plan

    before = process_peak()
    run = Run(without_weights(config), Path(), device)
    run.begin_stage(stage_index)
    run.step = run.stage_start
    # as the sampler hands it over: moving it is part of the step
    parts = [random_batch(config, part, "cpu") for _ in range(config.optim.accumulate)]
    for _ in range(WARM_UP):
        run.learn(parts)
    wait(device)
    started = time.perf_counter()
    for _ in range(steps):
        run.learn(parts)
    wait(device)
    seconds = (time.perf_counter() - started) / steps
    after, tensors = process_peak(), tensor_peak(run, parts, device)
    fused = nullcontext() if device.startswith("cuda") else sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, fused:
        run.learn(parts)
    peak = device_peak(device) if config.optim.bf16 else None
    threads = f"CPU, {torch.get_num_threads()} threads"
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else threads,
        "precision": precision.name,
        "learn": stage.learn,
        "frames_per_step": stage.clips * stage.frames,
        "seconds_per_step": seconds,
        "frames_per_second": stage.clips * stage.frames / seconds,
        "flops_per_step_planned": planned.total,
        "flops_per_step_counted": counter.get_total_flops(),
        "flops_per_second": planned.total / seconds,
        "utilisation": planned.total / seconds / peak if peak else None,
        "memory_planned": held.total + kept,
        "memory_measured": tensors,
        "process_grew": after - before if after is not None and before is not None else None,
    }


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def device_peak(device: str) -> float | None:
    """FLOP/s of the GPU at hand, if it is one of ours."""
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device).lower()
    return next((gpu.peak for key, gpu in GPUS.items() if key in name), None)
