"""What fine-tuning changed of a published transformer, as LoRA files that ComfyUI's LoraLoaderModelOnly reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from train.dubbing.wan.layouts import to_comfy

PREFIX = "diffusion_model."  # ComfyUI's, of the weights of a MODEL
# of the VACE blocks: attention, feed-forward and the way out
_ADAPTED = r"vace_blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.0\.proj|ffn\.net\.2|proj_out)"


def patchable(name: str) -> bool:
    """Whether a weight, in diffusers' names, is of the VACE blocks and ComfyUI can add to it: without a word its LoRA
    loader passes over weights that a block itself holds (0.3.64, ModelPatcher._load_list)."""
    return name.startswith("vace_") and not name.endswith("scale_shift_table")


def add_lora(transformer: Any, rank: int) -> None:
    """Low-rank adapters on the VACE blocks of diffusers' transformer, which change nothing at first; only they learn.

    Raises SyncLipError where the package peft is missing.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise SyncLipError("trained: lora needs the package peft (pip install peft)") from error
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=_ADAPTED))


def low_rank(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapters among a state dict, float16."""
    adapters = {k.replace(".default", ""): v for k, v in state.items() if ".lora_" in k}
    return {PREFIX + name: value.half().contiguous() for name, value in to_comfy(adapters).items()}


def differences(original: Mapping[str, Tensor], learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights that changed, float16. Both in diffusers' names."""
    changed = {k: v.float() - original[k].float() for k, v in learned.items() if not torch.equal(v, original[k])}
    return {f"{PREFIX}{k.removesuffix('.weight')}.diff": v.half().contiguous() for k, v in to_comfy(changed).items()}


@torch.no_grad()
def apply_patch(transformer: nn.Module, path: Path) -> None:
    """Add a file of either kind to diffusers' transformer. Raises SyncLipError where it is of another model."""
    patch, _ = read_safetensors(path)
    patch = {name.removeprefix(PREFIX): value.float() for name, value in patch.items()}
    weights = transformer.state_dict()
    try:
        for ours, name in zip(weights, to_comfy(weights), strict=True):
            name = name.removesuffix(".weight")
            if f"{name}.diff" in patch:
                weights[ours] += patch.pop(f"{name}.diff")
            if f"{name}.lora_A.weight" in patch:
                down, up = (patch.pop(f"{name}.lora_{which}.weight") for which in "AB")
                weights[ours] += up @ down
    except RuntimeError as error:
        raise SyncLipError(f"{path}: made for a transformer of other sizes ({error})") from error
    if patch:
        raise SyncLipError(f"{path}: made for another transformer; it has no {sorted(patch)[0]}")
