"""What ComfyUI's Wan VACE is told of a segment to dub: as core's WanVaceToVideo does, with two references."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.model_management
import node_helpers
import torch
import torch.nn.functional as F
from torch import Tensor

from ...synclip_core.dubbing.audiopack import FRAMES_PER_LATENT
from ...synclip_core.dubbing.vace import GREY, pack_mask

SIDE = 16  # pixels: two latents make a patch


@dataclass(frozen=True)
class Vace:
    """latents: [1, 32, R + T', h, w]; mask: [1, 64, R + T', h, w]; references: R."""

    latents: Tensor
    mask: Tensor
    references: int

    def conditioned(self, conditioning: Any, strength: float) -> Any:
        """CONDITIONING with this segment, beside VACE contexts that it has already."""
        values = {"vace_frames": [self.latents], "vace_mask": [self.mask], "vace_strength": [strength]}
        return node_helpers.conditioning_set_values(conditioning, values, append=True)

    def empty_latent(self) -> Tensor:
        shape = self.latents.shape
        return torch.zeros([1, 16, *shape[2:]], device=comfy.model_management.intermediate_device())


def describe(vae: Any, crops: Tensor, mask: Tensor, references: Sequence[Tensor]) -> Vace:
    """crops: [T, H, W, 3] in 0..1, sides multiples of 16; mask: [T, H, W], 1 where they are made anew; references: [H,
    W, 3], the identity first. A length that is not 4 n + 1 is filled up with the last frame."""
    crops, mask = filled(crops), filled(mask)
    inactive = vae.encode(torch.where(mask[..., None] > GREY, GREY, crops))
    reactive = vae.encode(torch.full_like(crops, GREY))
    latents = torch.cat([inactive, reactive], 1)
    hole = pack_mask(mask[None].float(), latents.shape[2]).to(latents)
    nothing = comfy.latent_formats.Wan21().process_out(torch.zeros_like(latents[:, :16, :1]))
    pictures = [torch.cat([vae.encode(picture[None]), nothing], 1) for picture in references]
    hole = F.pad(hole, (0, 0, 0, 0, len(pictures), 0))
    return Vace(torch.cat([*pictures, latents], 2), hole, len(pictures))


def filled(frames: Tensor) -> Tensor:
    """[T, ...] to 4 n + 1 frames, the last one repeated."""
    rest = (1 - len(frames)) % FRAMES_PER_LATENT
    return torch.cat([frames, frames[-1:].expand(rest, *frames.shape[1:])])
