"""DeepSpeed under the same few calls as one process: ZeRO 0 to 3, on CUDA or, for tests, on the CPU with gloo.

State goes in and out as whole tensors by name, so that a run may go on with another ZeRO stage, another number of
processes, or without DeepSpeed; DeepSpeed's own checkpoints are pickles.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synclip_core.device import usable
from synclip_core.errors import SyncLipError
from train.engine import distributed
from train.engine.run_state import part
from train.pretrain.config import OptimConfig

# Set by train.pretrain from its config; a JSON that says otherwise would train something else than the config says.
OURS = {
    "train_batch_size": "stages.clips",
    "train_micro_batch_size_per_gpu": "stages.clips",
    "gradient_accumulation_steps": "optim.accumulate",
    "gradient_clipping": "optim.clip",
    "optimizer": "stages.lr and optim",
    "scheduler": "stages.lr and stages.warmup",
    "bf16": "optim.bf16",
    "fp16": "optim.bf16",
    "torch_autocast": "optim.bf16",
}
MOMENTS = ("exp_avg", "exp_avg_sq")


def join(device: str) -> str:
    """Join the processes of a launcher (deepspeed, torchrun, srun); returns the device of this one.

    Raises SyncLipError where the device or DeepSpeed is missing or nothing launched us.
    """
    if "RANK" not in os.environ and "SLURM_PROCID" in os.environ:
        for name, theirs in (("RANK", "PROCID"), ("WORLD_SIZE", "NTASKS"), ("LOCAL_RANK", "LOCALID")):
            os.environ[name] = os.environ[f"SLURM_{theirs}"]
    for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        os.environ.setdefault(name, alone)
    if os.environ["WORLD_SIZE"] == "1":
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "0")
    if "MASTER_ADDR" not in os.environ:
        raise SyncLipError("MASTER_ADDR is not set: start with deepspeed or torchrun, or export it under srun")
    on_gpu = device.startswith("cuda")
    device = usable(f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else device)
    os.environ.setdefault("DS_ACCELERATOR", torch.device(device).type)
    deepspeed = _deepspeed()
    if on_gpu:
        torch.cuda.set_device(device)
        deepspeed.init_distributed("nccl", verbose=False)
    else:
        # its shared-memory collectives want a compiler and a minute; gloo is enough here
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed("gloo", verbose=False)
    return device


def read_settings(path: str | Path) -> dict[str, Any]:
    """A DeepSpeed JSON. Raises SyncLipError where it cannot be read or sets what the YAML sets."""
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SyncLipError(f"{path}: no DeepSpeed settings ({error})") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("zero_optimization", {}), dict):
        raise SyncLipError(f"{path}: no DeepSpeed settings (expected a mapping, and one of zero_optimization)")
    if zero_stage(settings) not in (0, 1, 2, 3):
        raise SyncLipError(f"{path}: zero_optimization.stage is {zero_stage(settings)!r}; expected 0, 1, 2 or 3")
    for name in settings:
        if name in OURS:
            raise SyncLipError(f"{path}: {name} is set by the config ({OURS[name]}); take it out here")
    return settings


def zero_stage(settings: dict[str, Any]) -> Any:
    """Of a DeepSpeed JSON; 0 where it names none."""
    return settings.get("zero_optimization", {}).get("stage", 0)


class DeepSpeed:
    """See Engine."""

    skips = False

    def __init__(
        self, objective: nn.Module, model: nn.Module, groups: list[dict], optim: OptimConfig, settings: dict[str, Any]
    ) -> None:
        deepspeed = _deepspeed()
        self.model = model
        self.parameters = [p for group in groups for p in group["params"]]
        self.shapes = {p: p.shape for p in model.parameters()}
        for parameter in model.parameters():
            if not parameter.ndim:  # DeepSpeed cannot send a scalar
                parameter.data = parameter.data.view(1)
        stage = zero_stage(settings)
        scale = getattr(model, "logit_scale", None)
        if stage == 3 and scale is not None:  # used by the objective itself, outside of the module that owns it
            deepspeed.zero.register_external_parameter(objective, scale)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=objective,
            optimizer=torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95)),
            config={
                "steps_per_print": 10**9,
                "zero_allow_untested_optimizer": True,
                **settings,
                "train_micro_batch_size_per_gpu": 1,  # it counts batches of ours, not clips
                "gradient_accumulation_steps": optim.accumulate,
                "gradient_clipping": optim.clip,
                "torch_autocast": {"enabled": optim.bf16, "dtype": "bfloat16"},
            },
            dist_init_required=False,
        )
        self.stage = stage
        if stage:
            self.engine.optimizer.get_grad_norm_direct = self._norm

    def forward(self, *args: Any) -> Any:
        return self.engine(*args)

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss)
        if not self.engine.is_gradient_accumulation_boundary():
            self.engine.step()
            if self.stage == 3:  # or it waits for the next forward pass before it adds, and ours are all done
                self.engine.optimizer.clear_backward_seen_flag()

    def step(self) -> float:
        if self.stage == 0:  # of the others DeepSpeed tells, -1 where it is not finite
            norm = float(nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None]))
            self.engine.step()
            return norm
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        return norm if norm >= 0 else math.inf

    @torch.no_grad()
    def follow(self, average: nn.Module, weight: float) -> None:
        learned = set(self.parameters)
        for mean, now in zip(average.parameters(), self.model.parameters(), strict=True):
            if now in learned:
                mean.lerp_(self._whole(now).to(mean), weight)

    def state(self) -> dict[str, Tensor]:
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link_moments()
        tensors = {f"model.{k}": v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            tensors[f"model.{name}"] = self._whole(parameter).detach().cpu().clone().contiguous()
        for index, parameter in enumerate(self.parameters):
            if self.stage == 0:
                moments = {name: self.optimizer.state[parameter][name] for name in MOMENTS}
            else:
                moments = {name: safe_get_full_optimizer_state(parameter, name) for name in MOMENTS}
            for name, value in moments.items():
                tensors[f"optimizer.{index}.{name}"] = value.detach().float().cpu().clone().view(self.shapes[parameter])
            tensors[f"optimizer.{index}.step"] = torch.tensor(float(self._steps()))
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state

        moved = part(tensors, "optimizer")
        steps = next((v for k, v in moved.items() if k.endswith(".step")), torch.tensor(0.0))
        if self.stage:  # it makes them in its first step
            names = "fp32_partitioned_groups_flat" if self.stage == 3 else "single_partition_of_fp32_groups"
            for flat in getattr(self.optimizer, names):
                self._inner().state[flat] = {name: torch.zeros_like(flat) for name in MOMENTS} | {"step": steps.clone()}
            self._link_moments()
        for index, parameter in enumerate(self.parameters):
            if f"{index}.step" not in moved:  # never had a gradient
                continue
            for name in MOMENTS:
                value = moved[f"{index}.{name}"].to(parameter.device).view(self.shapes[parameter] or (1,))
                if self.stage == 0:
                    self.optimizer.state[parameter][name] = value
                elif self.stage == 3:
                    self._set_share(parameter, name, value)
                else:
                    safe_set_full_optimizer_state(parameter, value, name)
            if self.stage == 0:
                self.optimizer.state[parameter]["step"] = moved[f"{index}.step"]

    def _set_share(self, parameter: nn.Parameter, name: str, value: Tensor) -> None:
        """ZeRO 3: our share of a moment. The call of DeepSpeed 0.19 fails where the last process holds less."""
        mine, _ = self.optimizer._get_fp32_opt_state_partition(
            parameter, release_swap_buffers=False, optim_state_key=name
        )
        whole = nn.functional.pad(value.flatten(), (0, mine.numel() * distributed.size() - value.numel()))
        mine.copy_(whole.chunk(distributed.size())[distributed.rank()])

    def _norm(self, gradients: list[Tensor], params: list[nn.Parameter], norm_type: float = 2) -> Tensor:
        """Of a group's gradients, -1 where not finite. DeepSpeed 0.19 rounds each process's part to float32 before it
        adds them up, so that a clipped gradient would depend on how many they are."""
        whole = torch.zeros((), dtype=torch.float64, device=self.engine.device)
        for gradient in gradients:
            whole += gradient.detach().double().square().sum()
        whole = distributed.summed(whole)
        return torch.where(whole.isfinite(), whole.sqrt(), -1.0).float()

    def _link_moments(self) -> None:
        """DeepSpeed 0.19 links parameters to their parts of the flat moments after the first group's first step, when
        the other groups have none yet."""
        if self.stage in (1, 2):
            self.optimizer._hp_optimizer_states_linked = False
            self.optimizer._lazy_init_hp_params_optimizer_state()

    def _inner(self) -> torch.optim.Optimizer:
        return self.optimizer if self.stage == 0 else self.optimizer.optimizer

    def _steps(self) -> float:
        return float(next(iter(self._inner().state.values()))["step"])

    def _whole(self, parameter: nn.Parameter) -> Tensor:
        if self.stage < 3:
            return parameter.data.view(self.shapes[parameter])
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.data.clone().view(self.shapes[parameter])


def _deepspeed() -> Any:
    try:
        import deepspeed
        import deepspeed.ops
    except ImportError as error:
        raise SyncLipError(f"--deepspeed needs the package deepspeed (pip install deepspeed): {error}") from error
    return deepspeed
