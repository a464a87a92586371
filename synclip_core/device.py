"""Is a device that somebody named there?"""

import torch

from .errors import SyncLipError


def usable(device: str) -> str:
    """`device` itself, after a number went there and back. Raises SyncLipError where torch cannot compute on it."""
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise SyncLipError(f"device {device!r} cannot be used here ({reason}); choose another, or cpu") from error
    return device
