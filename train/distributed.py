"""What processes that share a batch tell each other. In one process everything here is the identity."""

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def gathered(x: Tensor) -> Tensor:
    """[B, ...] of this process -> [size * B, ...] of all, in order of rank, without a gradient."""
    if size() == 1:
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


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
