"""What processes that share a batch tell each other. In one process everything here is the identity."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def gathered(x: Tensor) -> Tensor:
    """[B, ...] of this process -> [size * B, ...] of all, in order of rank.

    Gradients come back from every process. With a loss whose mean over the processes is the batch's, and parameter
    gradients that are averaged over the processes, that is the gradient of one process with the whole batch.
    """
    return _Gather.apply(x) if size() > 1 else x


def summed(x: Tensor) -> Tensor:
    """Over all processes, without a gradient."""
    if size() == 1:
        return x.detach()
    x = x.detach().clone()
    dist.all_reduce(x)
    return x


def wait() -> None:
    """Until every process is here."""
    if size() > 1:
        dist.barrier()


def leave() -> None:
    """At the end of a program."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        return whole.chunk(size())[rank()]
