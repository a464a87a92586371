"""Who paints the lower face in Dub Sampler: ComfyUI's own sampling of a Wan VACE model, driven by an AudioPack."""

from dataclasses import dataclass
from typing import Any

import comfy.sample
import numpy as np
import torch

from ...synclip_core.dubbing.audiopack import window
from ...synclip_core.dubbing.audiopack_file import AudioPackFile
from ...synclip_core.dubbing.control import Control
from ...synclip_core.dubbing.parts import SEGMENT, Part
from ...synclip_core.dubbing.vace import edit_mask
from ..shared.tensors import to_uint8
from .audiopack_drive import Drive
from .vace_conditioning import describe


@dataclass(frozen=True)
class Sampling:
    """The settings of a KSampler, and how strongly the tokens act."""

    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    strength: float
    guidance: float


@dataclass(frozen=True)
class SamplerPainter:
    """See dubbing.job.Painter. tokens: float32 [T, D], valid: bool [T], of the whole video."""

    model: Any
    vae: Any
    positive: Any
    negative: Any
    audiopack: AudioPackFile
    tokens: torch.Tensor
    valid: torch.Tensor
    sampling: Sampling
    margin: float

    def __call__(self, crops: np.ndarray, part: Part, identity: np.ndarray, history: np.ndarray | None) -> np.ndarray:
        references = [_picture(identity)] + ([] if history is None else [_picture(history)])
        # a last part that is short is made as long as the others and cut: the model knows no other length
        frames = _picture(np.concatenate([crops, np.repeat(crops[-1:], SEGMENT - len(crops), 0)]))
        hole = edit_mask(crops.shape[1], self.margin).expand(SEGMENT, -1, -1)
        vace, s = describe(self.vae, frames, hole, references), self.sampling
        latent = vace.empty_latent()
        samples = comfy.sample.sample(
            self.driven(part, vace.references),
            comfy.sample.prepare_noise(latent, s.seed),
            s.steps,
            s.cfg,
            s.sampler,
            s.scheduler,
            vace.conditioned(self.positive, 1.0),
            vace.conditioned(self.negative, 1.0),
            latent,
            disable_pbar=True,
            seed=s.seed,
        )
        made = self.vae.decode(samples[:, :, vace.references :]).flatten(0, -4)[: part.frames]
        return to_uint8(made)

    def driven(self, part: Part, references: int) -> Any:
        """The MODEL with the tokens of this part."""
        network, s = self.audiopack.network, self.sampling
        with torch.no_grad():
            packed = network(*window(self.tokens, self.valid, part.first, SEGMENT, network.config.reach))
        control = Control(packed * s.strength, torch.ones(SEGMENT, dtype=torch.bool))
        return Drive(control, network.config.inject_at, references, 0.0, 1.0, s.guidance).added_to(self.model)


def _picture(crops: np.ndarray) -> torch.Tensor:
    """uint8 [..., S, S, 3] -> float in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(crops)).float() / 255
