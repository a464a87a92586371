"""The audio branch: all layers of a frozen speech encoder, adapted (SyncLipMAE, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import AudioConfig
from ..layers import TemporalBlock


class AudioAdapter(nn.Module):
    """Concatenated layers -> tokens: a linear layer as in the paper, or convolutions if the front end lacks context."""

    def __init__(self, config: AudioConfig, dim: int, *, ops: Any = nn) -> None:
        super().__init__()
        features = config.features
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
        self.last_only, self.norm_layers = config.layers == "last", config.norm_layers

    def joined(self, layers: list[Tensor]) -> Tensor:
        """layers: L tensors [B, T, width], one row a video frame. Returns them side by side, [B, T, features]."""
        chosen = layers[-1:] if self.last_only else list(layers)
        if self.norm_layers:
            chosen = [F.layer_norm(layer, layer.shape[-1:]) for layer in chosen]
        return torch.cat(chosen, -1)

    def forward(self, layers: list[Tensor]) -> Tensor:
        """layers: as `joined`. Returns audio tokens [B, T, dim]."""
        x = self.embed(self.joined(layers))
        for block in self.blocks:
            x = block(x)
        return self.norm(self.proj(x))
