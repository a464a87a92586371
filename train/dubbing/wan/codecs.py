"""Video VAEs behind one door (synclip_core.dubbing.vace.Codec)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from synclip_core.dubbing.linear_vae import load_linear_vae
from synclip_core.dubbing.vace import Codec
from synclip_core.errors import SyncLipError


class WanCodec(nn.Module):
    """diffusers' AutoencoderKLWan, its latents normalised as Wan's transformer wants them."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        shape = (1, -1, 1, 1, 1)
        self.register_buffer("shift", torch.tensor(vae.config.latents_mean).view(shape))
        self.register_buffer("scale", torch.tensor(vae.config.latents_std).view(shape))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        pixels = frames.movedim(-1, 1).to(self.vae.dtype) * 2 - 1
        return (self.vae.encode(pixels).latent_dist.mode().float() - self.shift) / self.scale

    def decode(self, latents: Tensor) -> Tensor:
        pixels = self.vae.decode((latents * self.scale + self.shift).to(self.vae.dtype)).sample
        return (pixels.float() * 0.5 + 0.5).clamp(0, 1).movedim(1, -1)


def open_codec(path: str | Path) -> Codec:
    """A file of train.fit_linear_vae, or the folder of a Wan VAE in diffusers' layout. Raises SyncLipError."""
    if not Path(path).is_dir():
        return load_linear_vae(path)
    from diffusers import AutoencoderKLWan

    try:
        return WanCodec(AutoencoderKLWan.from_pretrained(path, local_files_only=True).eval().requires_grad_(False))
    except (OSError, ValueError, RuntimeError) as error:
        raise SyncLipError(f"{path}: no Wan VAE in diffusers' layout ({error})") from error
