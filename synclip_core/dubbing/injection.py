"""Where an AudioPack's control enters a Wan VACE transformer, ComfyUI's or diffusers': the output of a patch embedding.

Both name it `vace_patch_embedding` (or `patch_embedding`) and give it the same shape, so one scoped forward hook serves
both. No module is replaced and no weight renamed: LoRA, offloading and quantised weights stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import SyncLipError

EMBEDDING = {"vace": "vace_patch_embedding", "video": "patch_embedding"}


def embedding_of(transformer: nn.Module, inject_at: str) -> nn.Module:
    """The patch embedding. Raises SyncLipError where the model is not of the Wan VACE family."""
    if not isinstance(getattr(transformer, "vace_patch_embedding", None), nn.Module):
        raise SyncLipError(
            f"an AudioPack goes into a Wan VACE model, and this is a {type(transformer).__name__}; load "
            "Wan2.1-VACE-1.3B or 14B (or a model that was merged with VACE)"
        )
    return getattr(transformer, EMBEDDING[inject_at])


def on_latents(packed: Tensor, length: int, references: int) -> Tensor:
    """Control for each latent frame of a clip: [B, T', width] -> [B, length, width].

    The `references` latents in front get zeros. Where the clip is longer than the control, the rest gets zeros too;
    where it is shorter, the control's rest is not used.
    """
    out = packed.new_zeros(packed.shape[0], length, packed.shape[2])
    count = max(0, min(packed.shape[1], length - references))
    out[:, references : references + count] = packed[:, :count]
    return out


@contextmanager
def injected(embedding: nn.Module, control: Tensor) -> Iterator[None]:
    """Within it, `embedding` adds control to what it gives.

    control: [B, T', width] for each latent frame, reference latents included. The embedding's output may hold several
    VACE contexts one after the other, [contexts * B, width, T', H', W'].
    """

    def add(_: nn.Module, __: object, output: Tensor) -> Tensor:
        rows, width, frames = output.shape[:3]
        if (frames, width) != tuple(control.shape[1:]) or rows % control.shape[0]:
            raise SyncLipError(
                f"the AudioPack's control {list(control.shape)} does not fit the video model's {list(output.shape)}"
            )
        bias = control.to(output).transpose(1, 2).repeat(rows // control.shape[0], 1, 1)
        return output + bias[..., None, None]

    handle = embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def guided(plain: Tensor, driven: Tensor, scale: float) -> Tensor:
    """Audio guidance: the driven prediction, pushed `scale` times as far from the undriven one (1: as it is)."""
    return torch.lerp(plain, driven, scale)
