"""What processes that share a batch tell each other. In one process everything here is the identity."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from synclip_core.errors import SyncLipError


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


def by_first(write: Callable[[], None]) -> None:
    """Let the first process write what the run leaves behind, while the others wait.

    Where it cannot (a full disk), it raises SyncLipError, and the others end with it instead of waiting for ever.
    """
    failed: list[SyncLipError | None] = [None]
    if rank() == 0:
        try:
            write()
        except SyncLipError as error:
            failed[0] = error
    if size() > 1:
        dist.broadcast_object_list(failed)
    if failed[0] is not None:
        if rank():
            raise SystemExit(4)  # the first says why
        raise SyncLipError(f"{failed[0]} The same command goes on from the last whole checkpoint.") from failed[0]


def wait() -> None:
    """For all processes to come this far."""
    if size() > 1:
        dist.barrier()


def leave() -> None:
    """At the end of a program."""
    if dist.is_initialized():
        dist.destroy_process_group()
