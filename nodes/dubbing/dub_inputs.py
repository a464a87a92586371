"""What decides the result of a dub, as values that can be compared: a job that was cut is not mixed with another.

Objects that ComfyUI hands on have no name, so they are known by their contents.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def model_digest(model: Any) -> str:
    """Of a MODEL: its shapes, some of its weights, the patches on it and its options."""
    state = model.model.state_dict()
    digest = hashlib.sha256(repr([(name, tuple(t.shape)) for name, t in state.items()]).encode())
    for name in ("patch_embedding.weight", "vace_patch_embedding.weight", "head.head.weight", "blocks.0.ffn.0.weight"):
        _add(digest, state.get(f"diffusion_model.{name}"))
    for key, patches in sorted(model.patches.items()):
        digest.update(repr((key, [patch[0] for patch in patches])).encode())
        for tensor in _tensors(patches):
            digest.update(repr(float(tensor.double().sum())).encode())
    sampling = model.get_model_object("model_sampling")
    digest.update(repr((type(sampling).__mro__[0].__name__, getattr(sampling, "shift", None))).encode())
    digest.update(repr(sorted(model.object_patches)).encode())
    return digest.hexdigest()


def contents_digest(*values: Any) -> str:
    """Of tensors, arrays, modules, and what is made of them: lists, tuples, dictionaries; other things by `repr`."""
    digest = hashlib.sha256()
    for value in values:
        _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor | np.ndarray):
        _add(digest, torch.as_tensor(value))
    elif isinstance(value, torch.nn.Module):
        _update(digest, dict(value.state_dict()))
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _update(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _update(digest, item)
    else:
        digest.update(repr(value if isinstance(value, str | int | float | None) else type(value)).encode())


def _add(digest: Any, tensor: torch.Tensor | None) -> None:
    if tensor is not None:
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    """All tensors in lists, tuples, and objects such as ComfyUI's weight adapters."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "weights"):
        yield from _tensors(value.weights)
