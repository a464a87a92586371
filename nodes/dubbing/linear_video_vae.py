"""The toy model's video code as a VAE socket: what nodes call of ComfyUI's VAE, with Wan's latents."""

import comfy.latent_formats
from torch import Tensor

from ...synclip_core.dubbing.linear_vae import LinearVae
from .vace_conditioning import filled


class LinearVideoVae:
    """first_stage_model: named as ComfyUI's VAE names it."""

    def __init__(self, vae: LinearVae) -> None:
        self.first_stage_model = vae
        self._format = comfy.latent_formats.Wan21()

    def encode(self, pixels: Tensor) -> Tensor:
        """[T, H, W, 3] in 0..1 -> [1, 16, T', H / 8, W / 8], as Wan's VAE scales them."""
        return self._format.process_out(self.first_stage_model.encode(filled(pixels)[None, ..., :3].cpu().float()))

    def decode(self, samples: Tensor) -> Tensor:
        """[B, 16, T', h, w] -> [B, T, H, W, 3] in 0..1."""
        return self.first_stage_model.decode(self._format.process_in(samples.cpu().float()))
