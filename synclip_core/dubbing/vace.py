"""What a Wan VACE transformer is told of a segment to dub: the picture with a grey hole, the hole, the references.

The layout is VACE's own (Jiang et al. 2025): 16 channels of the video outside the hole, 16 of what stands in it, 64 of
the mask; reference latents in front. ComfyUI and diffusers take the same 96 channels.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 8  # pixels of a latent's side
GREY = 0.5

# The part of the face that is made anew, in the canonical square (faces/geometry.py): left, top, right, bottom. It does
# not follow the lips or the jaw, for their outline would tell what they say. It reaches up to the tip of the nose, so
# that what is pasted back can fade out above the upper lip, and leaves room below the chin (near 0.92).
EDITED = (0.06, 0.50, 0.94, 1.0)


# Where the lips move, in the same square.
MOUTH = (0.3, 0.57, 0.7, 0.86)


class Codec(Protocol):
    """A video VAE of Wan's geometry."""

    def encode(self, frames: Tensor) -> Tensor:
        """[B, T, H, W, 3] in 0..1 -> latents [B, 16, T', H / 8, W / 8], of about unit variance."""

    def decode(self, latents: Tensor) -> Tensor:
        """The way back, T = 4 T' - 3."""


def edit_mask(size: int, margin: float, box: tuple[float, float, float, float] = EDITED) -> Tensor:
    """[size, size], 1 where a face crop with `margin` around the canonical square is made anew, in whole latents."""
    left, top, right, bottom = (round((at + margin) / (1 + 2 * margin) * size / CELL) * CELL for at in box)
    mask = torch.zeros(size, size)
    mask[top:bottom, left:right] = 1
    return mask


def pack_mask(mask: Tensor, latents: int) -> Tensor:
    """[B, T, H, W] -> [B, 64, latents, H / 8, W / 8]: the pixels of a cell become channels, as ComfyUI's
    WanVaceToVideo and diffusers' prepare_masks have it."""
    cells = mask.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL))
    cells = cells.permute(0, 3, 5, 1, 2, 4).flatten(1, 2)
    return F.interpolate(cells, (latents, *cells.shape[3:]), mode="nearest-exact")


def vace_context(codec: Codec, video: Tensor, mask: Tensor, references: Sequence[Tensor]) -> Tensor:
    """video: [B, T, H, W, 3] in 0..1; mask: [B, T, H, W], 1 where the video is made anew; references: [B, H, W, 3].

    Returns [B, 96, references + T', H / 8, W / 8].
    """
    hole = mask[..., None]
    inactive = codec.encode(torch.where(hole > GREY, GREY, video))
    reactive = codec.encode(torch.full_like(video, GREY))
    parts = [torch.cat([inactive, reactive, pack_mask(mask, inactive.shape[2])], 1)]
    return torch.cat([_reference(codec, picture) for picture in references] + parts, 2)


def _reference(codec: Codec, picture: Tensor) -> Tensor:
    latent = codec.encode(picture[:, None])
    return F.pad(latent, (0, 0, 0, 0, 0, 0, 0, 96 - latent.shape[1]))
