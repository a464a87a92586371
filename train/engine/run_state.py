"""What training programs share: parameter groups, averaged weights, and a run as the tensors that a resume needs."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from synclip_core.files.settings import to_dict
from train.engine import distributed


class Stateful(Protocol):
    """What `save_run` asks of an engine (train/engine/one_process.py)."""

    def state(self) -> dict[str, Tensor]: ...


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Of those that learn: matrices decay, biases and norms do not."""
    learned = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]


def average_decay(decay: float, step: int) -> float:
    """Early on the average follows quickly, or it would carry the random start for ever."""
    return min(decay, (1 + step) / (10 + step))


def save_run(
    path: Path,
    engine: Stateful,
    average: nn.Module,
    config: Any,
    notes: Mapping[str, object],
    memory: nn.Module | None = None,
) -> None:
    """Everything that a resume needs, as tensors: model.*, optimizer.*, average.* and memory.*, what the objective
    remembers of earlier steps; config and notes in the header.

    Every process must call it; the first one writes. Raises SyncLipError, and keeps the file as it was, where the disk
    is full.
    """
    tensors = engine.state()

    def write() -> None:
        averages = {f"average.{k}": v.cpu().contiguous() for k, v in average.state_dict().items()}
        if memory is not None:
            averages |= {f"memory.{k}": v.cpu().contiguous() for k, v in memory.state_dict().items()}
        header = {name: str(value) for name, value in notes.items()}
        save_safetensors(path, tensors | averages, {**header, "config": json.dumps(to_dict(config))})

    distributed.by_first(write)


def read_run(path: Path, config: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header that `save_run` wrote. Raises SyncLipError where they belong to another config."""
    tensors, header = read_safetensors(path)
    if json.loads(header["config"]) != plain(config):
        raise SyncLipError(f"{path}: was written with another config; choose another --out folder")
    return tensors, header


def plain(config: Any) -> dict[str, Any]:
    """A config as it comes back out of a header, to compare with one."""
    return json.loads(json.dumps(to_dict(config)))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of each parameter as optimizer.INDEX.NAME; copies on the CPU."""
    return {
        f"optimizer.{index}.{name}": value.detach().cpu().clone().contiguous()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The state dict of one module: of tensors named NAME.*, those of `name` without it."""
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser of the same parameters its moments back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part(tensors, "optimizer").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
