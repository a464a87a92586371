"""Tensors in a file and back: safetensors only, written whole or not at all. Nothing pickled."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import SyncLipError
from .atomic import atomic_path

if TYPE_CHECKING:
    import numpy as np
    import torch

CHECKPOINT = "a SyncLipMAE checkpoint"


def save_safetensors(path: str | Path, tensors: "dict[str, torch.Tensor]", header: dict[str, str]) -> None:
    """Atomic write: a full disk or a kill leaves the old file or none, never half of one."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, header)
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))  # the library tells errors of the system as text
            if code is None:
                raise SyncLipError(f"{path}: cannot write ({error})") from error
            raise OSError(int(code[1]), str(error)) from error


def read_safetensors(
    path: str | Path, *, header_only: bool = False, expected: str = CHECKPOINT
) -> "tuple[dict[str, torch.Tensor], dict[str, str]]":
    """Tensors and header of a safetensors file. expected: what it should be, for people.

    Raises SyncLipError with how to convert when it is anything else.
    """
    return _read(path, "pt", header_only, expected)


def read_arrays(path: str | Path, expected: str) -> "tuple[dict[str, np.ndarray], dict[str, str]]":
    """As read_safetensors, without torch."""
    return _read(path, "np", False, expected)


def _read(path: str | Path, framework: str, header_only: bool, expected: str) -> tuple[dict[str, Any], dict[str, str]]:
    target = Path(path)
    if not target.is_file():
        raise SyncLipError(f"{target}: no such file; expected {expected} (.safetensors)")
    try:
        with safe_open(str(target), framework) as file:
            names = () if header_only else file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise SyncLipError(
            f"{target}: not a safetensors file ({error}); expected {expected}. Pickled checkpoints (.pt, .pth, .bin, "
            ".ckpt) can run code and are refused: load it where you trust it and write it again with "
            "safetensors.torch.save_file"
        ) from error
