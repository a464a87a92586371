"""Dubbing in PyTorch, without ComfyUI: what evaluation and the videos of a training run are made with."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synclip_core.dubbing.audiopack import window
from synclip_core.dubbing.parts import SEGMENT, Part
from train.dubbing.dubber import generate, to_segment
from train.dubbing.export import Trained
from train.dubbing.windows import DubBatch


@dataclass(frozen=True)
class TorchPainter:
    """See dubbing.job.Painter. tokens: float32 [T, D], valid: bool [T], of the whole video; guidance: of the tokens."""

    trained: Trained
    tokens: Tensor
    valid: Tensor
    steps: int = 12
    guidance: float = 1.0
    seed: int = 0

    def __call__(self, crops: np.ndarray, part: Part, identity: np.ndarray, history: np.ndarray | None) -> np.ndarray:
        trained = self.trained
        frames = np.concatenate([crops, np.repeat(crops[-1:], SEGMENT - len(crops), 0)])
        reach = trained.dubber.pack.config.reach
        batch = DubBatch(
            torch.from_numpy(frames)[None],
            torch.from_numpy(identity)[None],
            None if history is None else torch.from_numpy(history)[None],
            *window(self.tokens, self.valid, part.first, SEGMENT, reach),
            margin=trained.margin,
        )
        device = next(trained.dubber.parameters()).device
        segment = to_segment(batch, trained.codec, device)
        noise = torch.Generator().manual_seed(self.seed)
        made = trained.codec.decode(generate(trained.dubber, segment, self.steps, noise, self.guidance))
        return made[0, : part.frames].mul(255).round().byte().cpu().numpy()
