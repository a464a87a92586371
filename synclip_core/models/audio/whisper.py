"""Whisper's encoder in plain torch, frozen, as published; and its parts, of which local_whisper.py makes a banded one.

The names are those of transformers' WhisperEncoder, so that weights need no translation.
"""

import math
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...clock import RATE
from ...errors import SyncLipError
from ..config import AudioConfig

FFT, HOP, ROW = 400, 160, 320  # samples at 16 kHz of a spectrum, between two of them, between two rows of the encoder
POSITIONS = 1500  # rows of the 30 s that the published encoder takes at once
HEAD = 64  # channels a head, in Whisper of every size


def slaney_filterbank(bands: int) -> Tensor:
    """Triangular mel filters of equal area, linear to 1 kHz and logarithmic to 8 kHz, [bands, FFT // 2 + 1]."""
    step, knee, ratio = 200 / 3, 1000.0, math.log(6.4) / 27
    top = knee / step + math.log(RATE / 2 / knee) / ratio
    mel = torch.linspace(0, top, bands + 2, dtype=torch.float64)
    hz = torch.where(mel < knee / step, mel * step, knee * torch.exp(ratio * (mel - knee / step)))
    bins = torch.linspace(0, RATE / 2, FFT // 2 + 1, dtype=torch.float64)
    up = (bins[None] - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    down = (hz[2:, None] - bins[None]) / (hz[2:] - hz[1:-1])[:, None]
    return (torch.minimum(up, down).clamp_min(0) * (2 / (hz[2:] - hz[:-2]))[:, None]).float()


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's position embedding, [length, width]: half sines, half cosines."""
    scale = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * scale[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


def mel_power(waveform: Tensor, filters: Tensor, window: Tensor, pad_mode: str) -> Tensor:
    """[B, N] -> [B, bands, N / HOP], float32: power in the bands, centred at 0, 10, 20, ... ms."""
    spectrum = torch.stft(
        waveform.float(), FFT, HOP, window=window.float(), center=True, pad_mode=pad_mode, return_complex=True
    )
    return filters.float() @ (spectrum.real**2 + spectrum.imag**2)[..., : waveform.shape[-1] // HOP]


def ticks_of_rows(rows: Tensor, side_by_side: bool) -> Tensor:
    """[B, 2 T, width] -> [B, T, 2 * width] side by side, or [B, T, width] averaged: rows 2k and 2k + 1 are tick k's."""
    pairs = rows.unflatten(1, (-1, 2))
    return pairs.flatten(2) if side_by_side else pairs.mean(2)


class WhisperAttention(nn.Module):
    """Multi-head self-attention with transformers' names; the key projection has no bias."""

    def __init__(self, width: int, *, ops: Any = nn) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.q_proj = ops.Linear(width, width)
        self.k_proj = ops.Linear(width, width, bias=False)
        self.v_proj = ops.Linear(width, width)
        self.out_proj = ops.Linear(width, width)

    def forward(self, x: Tensor, band: "Band | None" = None) -> Tensor:
        """x: [B, N, width]. band: which rows see which; None: all see all."""
        query, key, value = (p(x).unflatten(-1, (self.heads, HEAD)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if band is None:
            out = F.scaled_dot_product_attention(*(y.transpose(1, 2) for y in (query, key, value))).transpose(1, 2)
        else:
            out = band.attend(query, key, value)
        return self.out_proj(out.flatten(2))


class WhisperBlock(nn.Module):
    """Pre-norm Transformer block with transformers' names."""

    def __init__(self, width: int, inner: int, *, ops: Any = nn) -> None:
        super().__init__()
        self.self_attn = WhisperAttention(width, ops=ops)
        self.self_attn_layer_norm = ops.LayerNorm(width)
        self.fc1 = ops.Linear(width, inner)
        self.fc2 = ops.Linear(inner, width)
        self.final_layer_norm = ops.LayerNorm(width)

    def forward(self, x: Tensor, band: "Band | None" = None) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), band)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class Band:
    """Local attention: row q sees the rows q - reach .. q + reach of which something is known, and itself.

    Queries are taken in chunks, each with its keys and the reach on both sides: time and memory grow with the length.
    """

    def __init__(self, known: Tensor, reach: int, chunk: int = 64) -> None:
        """known: [B, N] bool."""
        self.reach, self.chunk, self.length = reach, chunk, known.shape[1]
        self.count = -(-self.length // chunk)
        place = torch.arange(chunk + 2 * reach, device=known.device)
        self.distance = place - reach - place[:chunk, None]  # of key from query, [chunk, chunk + 2 * reach]
        keys = self._keys(known[:, :, None])[..., 0]  # [B * chunks, chunk + 2 * reach]
        self.mask = ((self.distance.abs() <= reach) & keys[:, None] | (self.distance == 0))[:, None]

    def biased(self, bias: Tensor) -> "Band":
        """The same band with bias [heads, 2 * reach + 1] added to the scores, by the distance of key from query."""
        added = bias[:, (self.distance + self.reach).clamp(0, 2 * self.reach)]
        other = copy(self)
        other.mask = torch.where(self.mask, added, float("-inf"))
        return other

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, N, heads, HEAD] each. Returns the same shape."""
        batch = len(query)
        tail = self.count * self.chunk - self.length
        queries = F.pad(query, (0, 0, 0, 0, 0, tail)).reshape(batch * self.count, self.chunk, *query.shape[2:])
        keys, values = (self._keys(x.flatten(2)).unflatten(-1, x.shape[2:]) for x in (key, value))
        mask = self.mask if self.mask.dtype == torch.bool else self.mask.to(query.dtype)
        out = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask
        )
        return out.transpose(1, 2).reshape(batch, -1, *query.shape[2:])[:, : self.length]

    def _keys(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [B * chunks, chunk + 2 * reach, C]: what the queries of each chunk may see."""
        tail = self.count * self.chunk - self.length
        padded = F.pad(x, (0, 0, self.reach, self.reach + tail))
        return padded.unfold(1, self.chunk + 2 * self.reach, self.chunk).transpose(2, 3).flatten(0, 1)


class WhisperFrontEnd(nn.Module):
    """The published encoder: pieces of 30 s, in which all rows see all and know their place. Frozen.

    A token then depends on where its piece begins and on all that is in it, and a file of many pieces has a seam every
    30 s: for weights of which no banded form was made (tools/localise_whisper.py). `audio.encoder` is {"band": 0,
    "mels": bands of the spectrum, 80 or 128}.
    """

    filters: Tensor
    window: Tensor
    positions: Tensor
    piece, reach = POSITIONS // 2, 0  # ticks that are taken at once, and that these see of their neighbours

    def __init__(self, config: AudioConfig, *, ops: Any = nn) -> None:
        super().__init__()
        width, layers = config.width, config.depth - 1
        if width % HEAD or layers < 1:
            raise SyncLipError(f"audio: width {width} and depth {config.depth}; a Whisper has heads of {HEAD} channels")
        mels = int(config.encoder.get("mels", 80))
        self.side_by_side = config.align == "rows"
        self.conv1 = ops.Conv1d(mels, width, 3, padding=1)
        self.conv2 = ops.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(WhisperBlock(width, 4 * width, ops=ops) for _ in range(layers))
        self.layer_norm = ops.LayerNorm(width)
        self.register_buffer("positions", sinusoids(POSITIONS, width), persistent=False)
        self.register_buffer("filters", slaney_filterbank(mels), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "WhisperFrontEnd":
        """Frozen: there is nothing that training would do differently."""
        return super().train(False)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: [B, T * 640], 16 kHz mono. Returns depth tensors [B, T, 2 * width], or [B, T, width] averaged."""
        batch, rows = len(waveform), waveform.shape[-1] // ROW
        piece = POSITIONS * ROW
        pieces = F.pad(waveform, (0, -waveform.shape[-1] % piece)).unflatten(-1, (-1, piece)).flatten(0, 1)
        found = [x.unflatten(0, (batch, -1)).flatten(1, 2)[:, :rows] for x in self.hidden_states(pieces)]
        return [ticks_of_rows(x, self.side_by_side) for x in found]

    def hidden_states(self, pieces: Tensor) -> list[Tensor]:
        """pieces: [B, 480000]. Input of the first block, output of each, the last one normed: [B, 1500, width]."""
        found = self.streams(pieces)
        return [*found[:-1], self.layer_norm(found[-1])]

    def streams(self, pieces: Tensor) -> list[Tensor]:
        """The same with the last one as it leaves its block."""
        mel = mel_power(pieces, self.filters, self.window, "reflect").clamp_min(1e-10).log10()
        mel = mel.maximum(mel.amax((1, 2), keepdim=True) - 8)  # 80 dB under the loudest moment of the piece
        x = F.gelu(self.conv1(((mel + 4) / 4).to(self.conv1.weight.dtype)))
        x = F.gelu(self.conv2(x)).mT + self.positions
        found = [x]
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found
