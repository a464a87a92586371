"""Conformer encoder (Gulati et al. 2020): attention sees the whole clip, a convolution the neighbourhood."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvolutionModule(nn.Module):
    """Pointwise, gated, depthwise over time. Layer norm for the paper's batch norm: clips are few and of any length."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm_inner = nn.LayerNorm(width)
        self.leave = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x: [B, T, width]; valid: [B, T] bool, what lies beyond is padding."""
        y = F.glu(self.enter(self.norm(x)), dim=-1) * valid[..., None]
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        return self.leave(F.silu(self.norm_inner(y)))


class FeedForward(nn.Sequential):
    """Two linear layers with SiLU; added at half weight on both sides of a block."""

    def __init__(self, width: int, ratio: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, ratio * width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(ratio * width, width),
            nn.Dropout(dropout),
        )


class ConformerBlock(nn.Module):
    """Half a feed-forward, self-attention, convolution, half a feed-forward, each a residual; then a norm."""

    def __init__(self, width: int, heads: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.enter = FeedForward(width, ratio, dropout)
        self.norm_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.convolution = ConvolutionModule(width, kernel)
        self.leave = FeedForward(width, ratio, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + 0.5 * self.enter(x)
        y = self.norm_attention(x)
        x = x + self.dropout(self.attention(y, y, y, key_padding_mask=~valid, need_weights=False)[0])
        x = x + self.dropout(self.convolution(x, valid))
        return self.norm(x + 0.5 * self.leave(x))


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sine-cosine positions, [length, width]."""
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000.0) / width))
    angle = torch.arange(length, device=like.device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(like.dtype)
