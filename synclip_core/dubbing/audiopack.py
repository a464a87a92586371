"""AudioPack: control tokens, one a frame, become what a video DiT adds to its latent frames (section 4.4).

Audio tokens and vocal-motion tokens come in by the same door, so one AudioPack is driven by either. The packing is that
of the video VAE: the first frame makes a latent frame by itself, then every four frames make one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files.settings import Depth, Kernel, Size
from ..models.layers import TemporalBlock

FRAMES_PER_LATENT = 4
InjectAt = Literal["vace", "video"]


@dataclass(frozen=True)
class AudioPackConfig:
    """width: of the DiT. inject_at: "vace" adds to the output of `vace_patch_embedding`, "video" to that of
    `patch_embedding` (the other reading of section 4.4)."""

    width: Size = 1536
    token_dim: Size = 128
    profile: str = "tiny-128"
    hidden: Size = 512
    # Convolutions, not attention: what a frame gets depends on its neighbourhood alone, so a segment of a long video
    # gets what the whole video would give it.
    depth: Depth = 3
    kernel: Kernel = 5
    inject_at: InjectAt = "vace"

    @property
    def reach(self) -> int:
        """Frames to either side that a frame's control depends on."""
        return self.depth * (self.kernel // 2)


class AudioPack(nn.Module):
    """Temporal encoder, packs of four frames, zero-initialised projection: untrained it changes nothing at all."""

    def __init__(self, config: AudioPackConfig, *, ops: Any = nn) -> None:
        super().__init__()
        self.config = config
        self.embed = ops.Linear(config.token_dim, config.hidden)
        self.missing = nn.Parameter(torch.zeros(config.hidden))  # stands for a frame that has no token
        self.blocks = nn.ModuleList(TemporalBlock(config.hidden, config.kernel, ops=ops) for _ in range(config.depth))
        self.norm = ops.LayerNorm(config.hidden)
        self.project = ops.Linear(FRAMES_PER_LATENT * config.hidden, config.width)
        # ComfyUI's layers under DynamicVRAM have no weights before some are loaded
        for values in (self.project.weight, self.project.bias):
            if values is not None:
                nn.init.zeros_(values)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Control of a segment. tokens: [B, T + 2 * reach, token_dim], of which the direction counts; valid: bool
        [B, T + 2 * reach], frames that have one; `window` cuts both out of a clip.

        Returns [B, latent_frames(T), width].
        """
        reach = self.config.reach
        return self.pack(self.encode(tokens, valid)[:, reach : tokens.shape[1] - reach])

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, T, token_dim] -> [B, T, hidden]: the part that looks at neighbouring frames."""
        x = self.embed(F.normalize(tokens, dim=-1) * self.config.token_dim**0.5)
        x = torch.where(valid[..., None], x, self.missing.to(x))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, hidden] -> [B, latent_frames(T), width]; a last pack that is not full repeats its last frame."""
        front, rest = FRAMES_PER_LATENT - 1, (1 - x.shape[1]) % FRAMES_PER_LATENT
        x = torch.cat([x[:, :1].expand(-1, front, -1), x, x[:, -1:].expand(-1, rest, -1)], 1)
        return self.project(x.unflatten(1, (-1, FRAMES_PER_LATENT)).flatten(2))


def window(tokens: Tensor, valid: Tensor, first: int, frames: int, reach: int) -> tuple[Tensor, Tensor]:
    """What `AudioPack.forward` wants for `frames` frames of a clip from `first` on, as a batch of one.

    tokens: [T, D]; valid: bool [T]. Where the clip has not begun or has ended there is no token.
    """
    begin, length = first - reach, frames + 2 * reach
    low, high = (min(max(at, 0), len(tokens)) for at in (begin, begin + length))
    front = min(max(-begin, 0), length)
    pad = (front, length - front - (high - low))
    cut, seen = tokens[low:high], valid[low:high]
    return F.pad(cut, (0, 0, *pad))[None], F.pad(seen, pad)[None]


def latent_frames(frames: int) -> int:
    """Of the video VAE: 1 -> 1, 5 -> 2, 17 -> 5."""
    return 1 + -(-(frames - 1) // FRAMES_PER_LATENT)
