"""The MAE decoder with prompt cross-attention (SyncLipMAE, section 3.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import DecoderConfig
from .layers import Block, sincos_position


class Decoder(nn.Module):
    """Restores a frame from the visible patches of bypass 1 and the tokens {identity, ambient, condition}."""

    checkpointing = False  # compute blocks again in the backward pass, for less memory

    def __init__(
        self,
        config: DecoderConfig,
        encoder_width: int,
        dim: int,
        grid: tuple[int, int],
        patch_size: int,
        *,
        ops: Any = nn,
    ) -> None:
        super().__init__()
        self.config = config
        self.embed = ops.Linear(encoder_width, config.width)
        self.prompt_embed = ops.Linear(dim, config.width)
        self.prompt_type = nn.Parameter(torch.randn(1, 3, config.width) * 0.02)
        self.mask_token = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.pos_embed = nn.Parameter(sincos_position(config.width, *grid)[None], requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio, cross=config.cross_attention, ops=ops)
            for _ in range(config.depth)
        )
        self.norm = ops.LayerNorm(config.width, eps=1e-6)
        self.head = ops.Linear(config.width, patch_size * patch_size * 3)

    def forward(self, patches: Tensor, keep: Tensor, identity: Tensor, ambient: Tensor, condition: Tensor) -> Tensor:
        """patches: [N, V, encoder_width] of bypass 1, keep: [N, V]; tokens: [N, dim] each.

        Returns pixels [N, P, patch_size^2 * 3]. Run twice with the same weights: condition = vocal, condition = audio.
        """
        # 1. restore the full sequence: mask tokens where bypass 1 saw nothing
        x = self.embed(patches)
        full = self.mask_token.to(x).expand(x.shape[0], self.pos_embed.shape[1], -1)
        x = full.scatter(1, keep[..., None].expand(-1, -1, x.shape[-1]), x) + self.pos_embed.to(x)
        # 2. the prompts
        prompts = self.prompt_embed(torch.stack([identity, ambient, condition], 1)) + self.prompt_type.to(x)
        # 3. blocks: self-attention over the sequence, cross-attention to the prompts
        if self.config.cross_attention:
            for block in self.blocks:
                x = self._run(block, x, prompts)
        else:
            x = torch.cat([prompts, x], 1)
            for block in self.blocks:
                x = self._run(block, x)
            x = x[:, 3:]
        # 4. to pixels
        return self.head(self.norm(x))

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if self.checkpointing and self.training:
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)


def patchify(frames: Tensor, patch_size: int) -> Tensor:
    """[N, 3, H, W] -> [N, P, patch_size^2 * 3] (models_mae.py)."""
    count, _, height, width = frames.shape
    h, w = height // patch_size, width // patch_size
    x = frames.reshape(count, 3, h, patch_size, w, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(count, h * w, patch_size * patch_size * 3)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """[N, P, patch_size^2 * 3] -> [N, 3, H, W]; the inverse of `patchify`."""
    height, width = grid
    x = patches.reshape(-1, height, width, patch_size, patch_size, 3)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, height * patch_size, width * patch_size)
