"""Transformer parts that the encoder and the decoder share.

`ops` is a namespace with Linear, LayerNorm, Conv1d, Conv2d, GroupNorm: `torch.nn` in training, `comfy.ops.*` in nodes.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off, for what needs more digits than bfloat16 has."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class Attention(nn.Module):
    """Multi-head attention. Queries from x: [B, N, C]; keys and values from context: [B, M, C], or from x."""

    def __init__(self, width: int, heads: int, cross: bool = False, *, ops: Any = nn) -> None:
        super().__init__()
        self.heads = heads
        self.cross = cross
        if cross:
            self.q = ops.Linear(width, width)
            self.kv = ops.Linear(width, 2 * width)
        else:
            self.qkv = ops.Linear(width, 3 * width)
        self.proj = ops.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.cross:
            assert context is not None
            query = self._split(self.q(x), 1)[0]
            key, value = self._split(self.kv(context), 2)
        else:
            query, key, value = self._split(self.qkv(x), 3)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        batch, length, _ = x.shape
        return x.view(batch, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear layers with GELU."""

    def __init__(self, width: int, ratio: float, *, ops: Any = nn) -> None:
        super().__init__()
        self.fc1 = ops.Linear(width, int(width * ratio))
        self.fc2 = ops.Linear(int(width * ratio), width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm Transformer block; with `cross`, a cross-attention sublayer stands between self-attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, cross: bool = False, *, ops: Any = nn) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, ops=ops)
        if cross:
            self.norm_cross = ops.LayerNorm(width, eps=1e-6)
            self.cross_attn = Attention(width, heads, cross=True, ops=ops)
        self.norm2 = ops.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, mlp_ratio, ops=ops)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.norm1(x))
        if context is not None:
            x = x + self.cross_attn(self.norm_cross(x), context)
        return x + self.mlp(self.norm2(x))


class TemporalBlock(nn.Module):
    """Residual temporal convolution: [B, T, C] -> [B, T, C].

    seen: [B, T], 1 where the stream is known. What is not known is zero before each convolution, as is what lies beyond
    the ends: an end, a missing face and a stretch that training hid look alike, and none of them carries anything over.
    """

    def __init__(self, width: int, kernel: int, *, ops: Any = nn) -> None:
        super().__init__()
        self.norm = ops.LayerNorm(width)
        self.conv = ops.Conv1d(width, width, kernel, padding=kernel // 2)
        self.proj = ops.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        y = self.norm(x)
        if seen is not None:
            y = y * seen[..., None].to(y)
        y = self.conv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.proj(F.gelu(y))


def sincos_position(width: int, height: int, columns: int) -> Tensor:
    """Fixed 2-D sine-cosine position embedding, [height * columns, width] (models_mae.py of facebookresearch/mae)."""
    omega = 1.0 / 10000 ** (np.arange(width // 4, dtype=np.float64) / (width / 4.0))
    grid_y, grid_x = np.meshgrid(np.arange(height), np.arange(columns), indexing="ij")
    parts = [f(np.outer(grid.reshape(-1), omega)) for grid in (grid_x, grid_y) for f in (np.sin, np.cos)]
    return torch.from_numpy(np.concatenate(parts, 1)).float()
