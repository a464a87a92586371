"""The visual encoder: a ViT over visible patches plus three learned prompts (SyncLipMAE, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import GROUPS, VisualConfig
from .layers import Block, sincos_position

PROMPTS = IDENTITY, VOCAL, AMBIENT = 0, 1, 2


class LinearStem(nn.Module):
    """The ViT's patch embedding: one linear map a patch."""

    def __init__(self, config: VisualConfig, *, ops: Any = nn) -> None:
        super().__init__()
        self.proj = ops.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)

    def forward(self, frames: Tensor, visible: Tensor) -> Tensor:
        """frames: [N, 3, H, W]; visible: [N, 1, h, w] in {0, 1}. Returns [N, width, h, w]."""
        return self.proj(frames)


class ConvStem(nn.Module):
    """Strided convolutions; hidden patches are zeroed before and after each, so that nothing leaks (ConvMAE)."""

    def __init__(self, config: VisualConfig, *, ops: Any = nn) -> None:
        super().__init__()
        widths, strides = config.stem_widths, config.stem_strides
        channels = (3, *widths)
        self.convs = nn.ModuleList(
            ops.Conv2d(channels[i], channels[i + 1], 2 * stride - 1, stride=stride, padding=stride - 1)
            for i, stride in enumerate(strides)
        )
        self.norms = nn.ModuleList(ops.GroupNorm(GROUPS, width) for width in widths)
        self.proj = ops.Conv2d(widths[-1], config.width, 1)

    def forward(self, frames: Tensor, visible: Tensor) -> Tensor:
        """frames: [N, 3, H, W]; visible: [N, 1, h, w] in {0, 1}. Returns [N, width, h, w]."""
        x = frames * F.interpolate(visible, frames.shape[-2:])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            keep = F.interpolate(visible, x.shape[-2:])
            x = F.gelu(norm(x * keep)) * keep
        return self.proj(x)


class VisualEncoder(nn.Module):
    """ViT over visible patches and the prompts identity, vocal motion, ambient motion."""

    checkpointing = False  # compute blocks again in the backward pass, for less memory

    def __init__(self, config: VisualConfig, *, ops: Any = nn) -> None:
        super().__init__()
        self.config = config
        height, width = (side // config.patch_size for side in config.image_size)
        self.grid = (height, width)
        self.patch_embed: nn.Module = (
            ConvStem(config, ops=ops) if config.stem == "conv" else LinearStem(config, ops=ops)
        )
        self.pos_embed = nn.Parameter(sincos_position(config.width, height, width)[None], requires_grad=False)
        self.prompts = nn.Parameter(torch.randn(1, 3, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio, ops=ops) for _ in range(config.depth)
        )
        self.norm = ops.LayerNorm(config.width, eps=1e-6)

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def forward(self, frames: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """frames: [N, 3, H, W], 0..1; keep: [N, V] indices of visible patches, or None for all.

        Returns patch tokens [N, V, width] and prompts [N, 3, width] (order IDENTITY, VOCAL, AMBIENT).
        """
        # 1. normalise to -1..1: the photometric jitter of bypass 2 makes a dataset mean pointless
        x = frames * 2 - 1
        # 2. embed patches; the stem sees only what is visible
        if keep is None:
            visible = torch.ones(x.shape[0], 1, *self.grid, device=x.device, dtype=x.dtype)
        else:
            visible = x.new_zeros(x.shape[0], self.patches).scatter(1, keep, 1.0).view(-1, 1, *self.grid)
        x = self.patch_embed(x, visible).flatten(2).transpose(1, 2) + self.pos_embed.to(x)
        # 3. keep the visible ones
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        # 4. prompts in front, Transformer, split again
        x = torch.cat([self.prompts.to(x).expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        x = self.norm(x)
        return x[:, 3:], x[:, :3]
