"""The audio branch: all layers of a frozen speech encoder, adapted (papers/synclipmae, section 3.2)."""

from typing import Any

import torch
from torch import Tensor, nn

from .config import AudioConfig
from .layers import TemporalBlock


class AudioAdapter(nn.Module):
    """Concatenated layers -> tokens: a linear layer as in the paper, or convolutions if the front end lacks context."""

    def __init__(self, config: AudioConfig, dim: int, *, ops: Any = nn) -> None:
        super().__init__()
        features = config.width * (config.depth if config.layers == "all" else 1)
        if config.adapter_width == 0:
            self.embed: nn.Module = nn.Identity()
            self.blocks = nn.ModuleList()
            self.proj = ops.Linear(features, dim)
        else:
            self.embed = ops.Linear(features, config.adapter_width)
            self.blocks = nn.ModuleList(
                TemporalBlock(config.adapter_width, config.adapter_kernel, ops=ops) for _ in range(config.adapter_depth)
            )
            self.proj = ops.Linear(config.adapter_width, dim)
        self.norm = ops.LayerNorm(dim)
        self.last_only = config.layers == "last"

    def forward(self, layers: list[Tensor]) -> Tensor:
        """layers: L tensors [B, T, width], one row a video frame. Returns audio tokens [B, T, dim]."""
        x = layers[-1] if self.last_only else torch.cat(list(layers), -1)
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(self.proj(x))
