"""Parameters and FLOPs of a training step, counted while the step itself runs on torch's meta device."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from synclip_core.models.masking import template_regions
from synclip_core.models.synclipmae import SyncLipMAE
from train.data.noise import Noise
from train.data.sampling import SAMPLES, Batch
from train.pretrain.config import InitConfig, PretrainConfig, StageConfig
from train.pretrain.objective import Step, pretraining_losses
from train.pretrain.run import Run

PARTS = {
    "visual": "visual encoder",
    "front_end": "audio front end",
    "adapter": "audio adapter",
    "vocal_head": "vocal head",
    "decoder": "decoder",
}
REST = "rest"  # projections, heads, losses
MARGIN = 1 / 14  # around the face in a shard (train.prepare)


@dataclass(frozen=True)
class StepFlops:
    """Of one step on one GPU; a multiplication and an addition are two. forward: by part of the model."""

    forward: dict[str, int]
    backward: int

    @property
    def total(self) -> int:
        return sum(self.forward.values()) + self.backward


def meta_run(config: PretrainConfig) -> Run:
    """The run of a config without memory behind its tensors."""
    with torch.device("meta"):
        run = Run(without_weights(config), Path(), "meta")
    return run


def without_weights(config: PretrainConfig) -> PretrainConfig:
    """The config started from random weights. Where `init.audio` exists it stays, as it decides the encoder's sizes."""
    audio = config.init.audio
    return replace(config, init=InitConfig(audio=audio if audio and Path(audio).exists() else ""))


def parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Part -> parameters in all, and of them those with a gradient."""
    counts: dict[str, list[int]] = {name: [0, 0] for name in (*PARTS.values(), REST)}
    for name, parameter in model.named_parameters():
        part = counts[PARTS.get(name.split(".")[0], REST)]
        part[0] += parameter.numel()
        part[1] += parameter.numel() * parameter.requires_grad
    return {name: (total, trained) for name, (total, trained) in counts.items()}


def random_batch(config: PretrainConfig, stage: StageConfig, device: str) -> Batch:
    """A batch of noise in the shapes that the sampler gives this stage."""
    clips, frames, side = stage.clips, stage.frames, math.ceil(config.model.visual.crop_size * (1 + 2 * MARGIN))
    resting = stage.learn == "alignment"
    on: dict[str, Any] = {"device": device}
    return Batch(
        torch.empty(0) if resting else torch.randint(0, 256, (clips, frames, side, side, 3), dtype=torch.uint8, **on),
        torch.empty(0) if resting else torch.rand(clips, frames, 60, 2),
        torch.empty(0) if resting else template_regions().expand(clips, frames, -1, -1),
        torch.ones(clips, frames, dtype=torch.bool),
        torch.randn(clips, frames * SAMPLES, **on) * 0.1,
        torch.ones(clips, dtype=torch.bool),
        torch.arange(clips),
        torch.arange(clips),
        torch.arange(frames).expand(clips, -1),
        MARGIN,
        torch.randn(clips, frames, config.model.visual.width, **on) if resting else None,
        tuple(range(clips)),
    )


def step_flops(run: Run, stage_index: int) -> StepFlops:
    """FLOPs of the losses of a stage, forward and backward. run: of `meta_run`.

    Attention counts as its two matrix products: what a fused kernel computes again in its backward pass is not useful
    work. Element-wise operations count nothing, as is usual for the utilisation (Chowdhery et al. 2022, appendix B).
    """
    run.begin_stage(stage_index)
    config, model = run.config, run.model
    # the photometric jitter and the mel noise are no matrix products, and drawing them would take real memory
    augment = replace(config.augment, photometric=0.0, mel=0.0)
    batch = random_batch(config, run.stage, "meta")
    with FlopCounterMode(display=False) as counter, EveryFrameValid(), by_part(model, counter) as forward:
        losses = pretraining_losses(Step(model, batch, run.stage, augment, config.loss, Noise(batch.slots)))
        whole = counter.get_total_flops()
        losses.total.backward()
        total = counter.get_total_flops()
    model.zero_grad(set_to_none=True)
    return StepFlops({**forward, REST: whole - sum(forward.values())}, total - whole)


@contextmanager
def by_part(model: SyncLipMAE, counter: FlopCounterMode) -> Iterator[Counter[str]]:
    """Counts the forward FLOPs inside of each part; the visual encoder's two calls apart, bypass 2 comes first."""
    counts: Counter[str] = Counter()
    begun: dict[str, int] = {}
    calls: Counter[str] = Counter()

    def hooks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(*_: object) -> None:
            begun[name] = counter.get_total_flops()

        def leave(*_: object) -> None:
            calls[name] += 1
            label = f"{PARTS[name]}, bypass {3 - calls[name]}" if name == "visual" else PARTS[name]
            counts[label] += counter.get_total_flops() - begun[name]

        return enter, leave

    handles = []
    for name in PARTS:
        enter, leave = hooks(name)
        part = getattr(model, name)
        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


class EveryFrameValid(TorchFunctionMode):
    """A meta tensor has no values, so `nonzero` of the flat mask of valid frames gives all of them."""

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.nonzero and args[0].is_meta:
            return torch.arange(args[0].numel(), device="meta")[:, None]
        return func(*args, **(kwargs or {}))


def gathered_contrast(stage: StageConfig, dim: int, sound: int, gpus: int) -> int:
    """FLOPs that a step of one GPU gains when its tokens are contrasted with those of all GPUs.

    Its M rows of either modality meet the N M columns of the other, and its sounds those of all, instead of M x M
    squares: forward 4 M (N - 1) M dim and 2 M (N - 1) M sound, backward twice the first.
    """
    if stage.learn == "vision" or gpus == 1:
        return 0
    tokens = stage.clips * stage.frames
    return 2 * tokens * tokens * (gpus - 1) * (6 * dim + sound)
