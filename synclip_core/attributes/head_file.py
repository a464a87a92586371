"""Attribute heads in a file: safetensors, a few kB, with its labels and the checkpoint that it belongs to."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ..errors import SyncLipError
from ..files.atomic import atomic_path
from ..files.safetensors_file import read_arrays
from .head import KINDS, SCOPES, AttributeGroup, AttributeHead

FORMAT = "synclip-attributes-1"
BUNDLED_HEAD = Path(__file__).parents[1] / "weights" / "attributes.safetensors"


def save_head(path: str | Path, head: AttributeHead) -> None:
    """Whole or not at all. Raises SyncLipError where the file cannot be written."""
    metadata = {
        "format": FORMAT,
        "model": head.model,
        "profile": head.profile,
        "dim": str(head.weight.shape[1]),
        "ambient_weight": str(head.ambient_weight),
        "groups": json.dumps([asdict(group) for group in head.groups]),
        "record": json.dumps(head.record),
    }
    tensors = {"weight": head.weight.astype(np.float32), "bias": head.bias.astype(np.float32)}
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata=metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def load_head(path: str | Path | None = None) -> AttributeHead:
    """None: the bundled one. Raises SyncLipError where the file is none of save_head or is damaged."""
    target = BUNDLED_HEAD if path is None else Path(path)
    arrays, header = read_arrays(target, "an attribute head of train.finetune_attributes")
    if header.get("format") != FORMAT:
        raise SyncLipError(
            f"{target}: holds no attribute head (metadata 'format' is {header.get('format')!r}); make one with "
            "python -m train.finetune_attributes"
        )
    try:
        record = json.loads(header.get("record", "{}"))
        groups = tuple(_group(item) for item in json.loads(header["groups"]))
        profile = header.get("profile", "")
        weight, bias, gain = arrays["weight"], arrays["bias"], float(header["ambient_weight"])
        head = AttributeHead(groups, weight, bias, header["model"], profile, record, gain)
        shape, count = (len(head.labels), int(header["dim"])), len(head.labels)
    except (KeyError, TypeError, ValueError) as error:
        raise SyncLipError(f"{target}: its metadata is damaged ({error}); write it again") from error
    sound = all(np.isfinite(array).all() for array in (head.weight, head.bias, gain))
    if not count or head.weight.shape != shape or head.bias.shape != (count,) or not sound:
        raise SyncLipError(f"{target}: weights of {head.weight.shape} do not fit {count} labels of width {shape[1]}")
    return head


def require_match(head: AttributeHead, model: str, dim: int) -> None:
    """Raises SyncLipError where tokens of the checkpoint with sha256 `model` are not what the head was trained on.

    Two checkpoints of one size give tokens of the same shape that mean different things; the answer would be nonsense.
    """
    if model != head.model or dim != head.weight.shape[1]:
        raise SyncLipError(
            f"the head was trained on tokens of checkpoint {head.model[:12]} ({head.profile or 'unnamed'}, width "
            f"{head.weight.shape[1]}), and these come from checkpoint {model[:12] or 'unknown'} (width {dim}); "
            "choose the head that belongs to your checkpoint, or train one with python -m train.finetune_attributes"
        )


def _group(item: dict[str, Any]) -> AttributeGroup:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in item.items()}
    group = AttributeGroup(**values)
    if group.kind not in KINDS or group.per not in SCOPES or len(group.labels) != len(group.thresholds):
        raise ValueError(f"group {group.name!r}")
    if group.temperature <= 0:
        raise ValueError(f"temperature of {group.name!r}")
    return group
