"""Wan VACE weights between ComfyUI's layout (Wan's own: one file) and diffusers'."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from synclip_core.errors import SyncLipError

HEAD = 128  # Wan's heads are this wide at every size

# diffusers' name -> Wan's; the first that fits at each place counts
_NAMES = (
    (r"^condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"^condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"^condition_embedder\.time_proj", "time_projection.1"),
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
    (r"\.scale_shift_table", ".modulation"),
    (r"\.proj_in", ".before_proj"),
    (r"\.proj_out", ".after_proj"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.to_(q|k|v)\.", r".\1."),
    (r"\.ffn\.net\.0\.proj", ".ffn.0"),
    (r"\.ffn\.net\.2", ".ffn.2"),
    (r"\.norm2\.", ".norm3."),  # of the cross-attention; the two others have no weights
)


def to_comfy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' state dict in ComfyUI's layout."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, wan in _NAMES:
            name = re.sub(pattern, wan, name)
        renamed[name] = tensor
    return renamed


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of diffusers' WanVACETransformer3DModel for weights in ComfyUI's layout. Raises SyncLipError where
    they are of another model."""
    try:
        dim, channels = state["patch_embedding.weight"].shape[:2]
        layers, vace = (_count(state, kind) for kind in ("blocks", "vace_blocks"))
        return {
            "num_attention_heads": dim // HEAD,
            "attention_head_dim": HEAD,
            "in_channels": channels,
            "out_channels": state["head.head.weight"].shape[0] // 4,
            "text_dim": state["text_embedding.0.weight"].shape[1],
            "freq_dim": state["time_embedding.0.weight"].shape[1],
            "ffn_dim": state["blocks.0.ffn.0.weight"].shape[0],
            "num_layers": layers,
            "vace_layers": list(range(0, layers, layers // vace)),
            "vace_in_channels": state["vace_patch_embedding.weight"].shape[1],
        }
    except (KeyError, ZeroDivisionError) as error:
        raise SyncLipError(f"not the weights of a Wan VACE model: {error} is missing") from error


def _count(state: Mapping[str, Tensor], kind: str) -> int:
    return 1 + max((int(name.split(".")[1]) for name in state if name.startswith(f"{kind}.")), default=-1)
