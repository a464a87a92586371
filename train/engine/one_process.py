"""What moves the weights: plain PyTorch in one process, or DeepSpeed over many (train/engine/deepspeed.py)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synclip_core.device import usable
from synclip_core.errors import SyncLipError
from train.engine.run_state import optimizer_tensors, restore_optimizer
from train.pretrain.config import OptimConfig


class Engine(Protocol):
    """Calls the objective, adds up gradients, steps, and gives its state as the tensors of run_state.py."""

    optimizer: Any  # with param_groups
    skips: bool  # a step whose gradient is not finite leaves the weights as they were

    def forward(self, *args: Any) -> Any:
        """The objective on a part of a batch."""

    def backward(self, loss: Tensor) -> None: ...

    def step(self) -> float:
        """Clip and step once all parts of a batch went backward; the norm of the gradient, maybe not finite."""

    def follow(self, average: nn.Module, weight: float) -> None:
        """average += weight * (weights - average)."""

    def state(self) -> dict[str, Tensor]:
        """Full weights as model.NAME and moments as optimizer.INDEX.NAME, on the CPU; every process must call it."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Moments of `state`. Weights are in the model before the engine begins."""


MakeEngine = Callable[[nn.Module, nn.Module, list[dict], OptimConfig], Engine]


class OneProcess:
    """AdamW on the device of the model."""

    skips = True

    def __init__(self, objective: nn.Module, model: nn.Module, groups: list[dict], optim: OptimConfig) -> None:
        self.objective, self.model, self.optim = objective, model, optim
        self.optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), fused=next(model.parameters()).is_cuda)

    def forward(self, *args: Any) -> Any:
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.optim.bf16):
            return self.objective(*args)

    def backward(self, loss: Tensor) -> None:
        (loss / self.optim.accumulate).backward()

    def step(self) -> float:
        learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(learned, self.optim.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    @torch.no_grad()
    def follow(self, average: nn.Module, weight: float) -> None:
        pairs = zip(average.parameters(), self.model.parameters(), strict=True)
        learned = [(mean, now.detach()) for mean, now in pairs if now.requires_grad]
        torch._foreach_lerp_([mean for mean, _ in learned], [now for _, now in learned], weight)

    def state(self) -> dict[str, Tensor]:
        weights = {f"model.{k}": v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        return weights | optimizer_tensors(self.optimizer)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        restore_optimizer(self.optimizer, tensors)


def advance(engine: Engine, loss: Tensor, average: nn.Module, weight: float, step: int) -> dict[str, float]:
    """Backward and one step, which the average follows by `weight`; a gradient that is not finite is skipped and
    counted. Raises SyncLipError where the engine has stepped on it already."""
    engine.backward(loss)
    norm = engine.step()
    skipped = not math.isfinite(norm)
    if skipped and not engine.skips:
        raise SyncLipError(f"the gradient of step {step} is not finite; lower lr")
    if not skipped:
        engine.follow(average, weight)
    return {"grad_norm": norm, "skipped": float(skipped)}


def launched(device: str, deepspeed: str | None) -> tuple[str, MakeEngine]:
    """The device of this process and the engine that a program's --device and --deepspeed ask for.

    Raises SyncLipError where the device or DeepSpeed is missing, its settings contradict ours, or nothing launched us.
    """
    if deepspeed is None:
        return usable(device), OneProcess
    from train.engine.deepspeed import DeepSpeed, join, read_settings

    settings = read_settings(deepspeed)
    return join(device), partial(DeepSpeed, settings=settings)
