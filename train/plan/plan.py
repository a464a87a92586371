"""All figures of a config on a number of GPUs, as one JSON-able report."""

from dataclasses import asdict, replace
from typing import Any

from train.pretrain.config import PretrainConfig, StageConfig

from .activations import activations
from .flops import StepFlops, gathered_contrast, meta_run, parameters, step_flops
from .hardware import NODE, RESERVE, Gpu
from .network import Traffic, sound_width, traffic
from .states import AUTOCAST, FP32, ZERO_STAGES, States, states

SCALES = (1, 2, 4, 8, 16, 32, 64, 128)
MOST_CLIPS = 1 << 16


class Plan:
    """gpus: how many; zero: stage of ZeRO; mfu: share of the peak that matrix products reach while nothing is sent."""

    def __init__(self, config: PretrainConfig, gpus: int, gpu: Gpu, zero: int, mfu: float) -> None:
        self.config, self.gpus, self.gpu, self.zero, self.mfu = config, gpus, gpu, zero, mfu
        self.precision = AUTOCAST if config.optim.bf16 else FP32
        self.peak = gpu.peak if config.optim.bf16 else gpu.peak_fp32
        self.run = meta_run(config)
        self.model = self.run.model.config
        self.counted: dict[int, StepFlops] = {}
        self.parts: list[dict[str, tuple[int, int]]] = []
        for index in range(len(config.stages)):
            self.run.begin_stage(index)
            self.parts.append(parameters(self.run.model))
        self.total = sum(total for total, _ in self.parts[0].values())
        memory = [self.memory(i, zero, gpus, stage.clips, False) for i, stage in enumerate(config.stages)]
        self.heaviest = memory.index(max(memory))  # the stage that memory, network and scaling are told for

    def trained(self, stage: int) -> int:
        return sum(trained for _, trained in self.parts[stage].values())

    def flops(self, stage: int) -> StepFlops:
        """Of a step on one GPU; counted when first asked for, which takes a few seconds."""
        if stage not in self.counted:
            self.counted[stage] = step_flops(self.run, stage)
        return self.counted[stage]

    # ---- memory -------------------------------------------------------------------------------------------------

    def states(self, stage: int, zero: int, gpus: int) -> States:
        return states(self.total, self.trained(stage), self.precision, zero, gpus)

    def activations(self, stage: int, clips: int, checkpointing: bool, gpus: int) -> float:
        """Bytes of a step with `clips` clips on each GPU, `accumulate` parts of them one after the other."""
        with_clips = replace(self.config.stages[stage], clips=-(-clips // self.config.optim.accumulate))
        return activations(self.model, with_clips, self.precision, checkpointing, gpus)

    def memory(self, stage: int, zero: int, gpus: int, clips: int, checkpointing: bool) -> float:
        """Bytes on one GPU."""
        return self.states(stage, zero, gpus).total + self.activations(stage, clips, checkpointing, gpus)

    @property
    def room(self) -> float:
        return self.gpu.memory * (1 - RESERVE)

    def largest(self, stage: int, zero: int, checkpointing: bool) -> int:
        """Most clips on a GPU; 0 when not even one fits."""
        low, high = 0, MOST_CLIPS
        while low < high:
            middle = (low + high + 1) // 2
            if self.memory(stage, zero, self.gpus, middle, checkpointing) <= self.room:
                low = middle
            else:
                high = middle - 1
        return low

    def recomputes(self, stage: int) -> bool | None:
        """Whether the config asks for activation checkpointing or the batch needs it to fit; None when it does not fit
        with it either."""
        clips = self.config.stages[stage].clips
        for checkpointing in (True,) if self.config.optim.checkpointing else (False, True):
            if self.memory(stage, self.zero, self.gpus, clips, checkpointing) <= self.room:
                return checkpointing
        return None

    # ---- time ---------------------------------------------------------------------------------------------------

    def compute_seconds(self, stage: int, gpus: int) -> float:
        """Of one step; where the batch needs checkpointing the learned parts' forward pass is run once more."""
        settings, flops = self.config.stages[stage], self.flops(stage)
        work = flops.total + gathered_contrast(settings, self.model.dim, sound_width(self.model), gpus)
        if self.recomputes(stage) is not False:
            work += sum(v for k, v in flops.forward.items() if k.startswith(("visual", "decoder")))
        return work / (self.peak * self.mfu)

    def scale(self, stage: int, gpus: int) -> dict[str, Any]:
        """A step on `gpus` GPUs with the same batch on each. Efficiency is against one GPU; `overlapped` sends
        gradients and weights while it computes, as far as there is something to compute."""
        sent = self.traffic(stage, self.zero, gpus)
        compute, alone = self.compute_seconds(stage, gpus), self.compute_seconds(stage, 1)
        apart = compute + sent.seconds
        overlapped = max(compute, sent.seconds - sent.token_seconds) + sent.token_seconds
        frames = frames_of(self.config.stages[stage]) * gpus
        return {
            "gpus": gpus,
            "nodes": -(-gpus // NODE),
            "compute_s": compute,
            "network_s": sent.seconds,
            "network_share": sent.seconds / apart,
            "efficiency": alone / apart,
            "efficiency_overlapped": alone / overlapped,
            "step_s": apart,
            "frames_per_second": frames / apart,
        }

    def traffic(self, stage: int, zero: int, gpus: int) -> Traffic:
        return traffic(
            self.total,
            self.trained(stage),
            self.model,
            self.config.stages[stage],
            self.precision,
            zero,
            gpus,
            self.gpu,
        )

    # ---- report -------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Bytes, FLOPs, seconds; memory, network and scaling of the stage that needs most memory."""
        heaviest, stages = self.heaviest, self.config.stages
        flops = self.flops(heaviest)
        frames = frames_of(stages[heaviest])
        return {
            "config": self.model.name,
            "gpu": asdict(self.gpu),
            "gpus": self.gpus,
            "zero": self.zero,
            "peak": self.peak,
            "mfu": self.mfu,
            "precision": self.precision.name,
            "heaviest_stage": heaviest,
            "parameters": {name: {"all": a, "trained": b} for name, (a, b) in self.parts[heaviest].items()}
            | {"total": {"all": self.total, "trained": self.trained(heaviest)}},
            "flops_per_frame": {
                "forward": {name: value / frames for name, value in flops.forward.items()},
                "backward": flops.backward / frames,
                "total": flops.total / frames,
            },
            "stages": [self.stage(index) for index in range(len(stages))],
            "hours": sum(self.stage(index)["hours"] for index in range(len(stages))),
            "memory": [self.memory_row(zero) for zero in ZERO_STAGES],
            "network": [self.network_row(zero) for zero in ZERO_STAGES],
            "scaling": [self.scale(heaviest, n) for n in sorted({*SCALES, self.gpus})],
        }

    def stage(self, index: int) -> dict[str, Any]:
        stage, at = self.config.stages[index], self.scale(index, self.gpus)
        frames = frames_of(stage)
        return {
            "learn": stage.learn,
            "steps": stage.steps,
            "clips_per_gpu": stage.clips,
            "frames_per_gpu": frames,
            "flops_per_frame": self.flops(index).total / frames,
            "flops_per_step": self.flops(index).total,
            "checkpointing": self.recomputes(index),
            "step_s": at["step_s"],
            "frames_per_second": at["frames_per_second"],
            "hours": stage.steps * at["step_s"] / 3600,
        }

    def memory_row(self, zero: int) -> dict[str, Any]:
        stage, clips = self.heaviest, self.config.stages[self.heaviest].clips
        return {
            "zero": zero,
            **asdict(self.states(stage, zero, self.gpus)),
            "activations": self.activations(stage, clips, False, self.gpus),
            "activations_checkpointed": self.activations(stage, clips, True, self.gpus),
            "total": self.memory(stage, zero, self.gpus, clips, False),
            "total_checkpointed": self.memory(stage, zero, self.gpus, clips, True),
            "most_clips": self.largest(stage, zero, False),
            "most_clips_checkpointed": self.largest(stage, zero, True),
        }

    def network_row(self, zero: int) -> dict[str, Any]:
        sent = self.traffic(self.heaviest, zero, self.gpus)
        compute = self.compute_seconds(self.heaviest, self.gpus)
        return {
            "zero": zero,
            "gradients": sent.gradients,
            "weights": sent.weights,
            "tokens": sent.tokens,
            "seconds": sent.seconds,
            "share": sent.seconds / (sent.seconds + compute),
        }


def frames_of(stage: StageConfig) -> int:
    """Frames of a step on one GPU."""
    return stage.clips * stage.frames
