"""The `whisper` front end: Whisper's encoder with attention in a band, so that a row knows its neighbours and no more.

The published encoder takes 30 s at once: every row sees all others and knows its place among the 1,500. A row of the
same sound then changes with where a file begins and what is said 20 s later. Here each row sees `band` rows (20 ms
each) on both sides, and a learned bias for each distance stands for the positions. What that takes from the encoder is
given back by a short training against the published one (tools/localise_whisper.py); after it the weights are frozen.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import SyncLipError
from ..config import TICK, AudioConfig
from ..layers import full_precision
from .whisper import (
    FFT,
    HEAD,
    POSITIONS,
    Band,
    WhisperBlock,
    mel_power,
    sinusoids,
    slaney_filterbank,
    ticks_of_rows,
)

SETTINGS = {"mels": 80, "band": 24, "place": 90, "floor": -8.0}


class LocalWhisper(nn.Module):
    """Waveform -> all layers, one row a video frame (AudioConfig.align: "rows" or "features"). Frozen."""

    filters: Tensor
    window: Tensor
    place: Tensor

    def __init__(self, config: AudioConfig, *, ops: Any = nn) -> None:
        super().__init__()
        unknown = sorted(set(config.encoder) - set(SETTINGS))
        if unknown:
            raise SyncLipError(f"audio.encoder: unknown setting {unknown[0]!r}; known are {', '.join(SETTINGS)}")
        settings = SETTINGS | config.encoder
        width, layers = config.width, config.depth - 1
        if width % HEAD or layers < 1:
            raise SyncLipError(f"audio: width {width} and depth {config.depth}; a Whisper has heads of {HEAD} channels")
        self.mels, self.band, self.floor = int(settings["mels"]), int(settings["band"]), float(settings["floor"])
        self.side_by_side = config.align == "rows"
        self.conv1 = ops.Conv1d(self.mels, width, 3)
        self.conv2 = ops.Conv1d(width, width, 3, stride=2)
        self.layers = nn.ModuleList(WhisperBlock(width, 4 * width, ops=ops) for _ in range(layers))
        self.layer_norm = ops.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(layers, width // HEAD, 2 * self.band + 1))
        self.register_buffer("place", sinusoids(POSITIONS, width)[int(settings["place"])], persistent=False)
        self.register_buffer("filters", slaney_filterbank(self.mels), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def reach(self) -> int:
        """Ticks on each side that a tick's rows see."""
        return -(-(self.band * len(self.layers) + 2) // 2)

    def train(self, mode: bool = True) -> "LocalWhisper":
        """Frozen: there is nothing that training would do differently."""
        return super().train(False)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """[B, N] -> [B, mels, N / 160], as Whisper scales it, but for a fixed floor: the published one lies 80 dB under
        the loudest moment of the 30 s, and a row would hear that moment."""
        with full_precision(waveform.device):
            power = mel_power(waveform, self.filters, self.window, "constant")
        return (power.clamp_min(10**self.floor).log10() + 4) / 4

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: [B, T * 640], 16 kHz mono. Returns depth tensors [B, T, 2 * width], or [B, T, width] averaged."""
        # a tick of silence around it: the rows at an end then are those of the same sound within digital silence
        rows = self.streams(self.log_mel(F.pad(waveform, (TICK, TICK))))
        rows = [row[:, 2:-2] for row in (*rows[:-1], self.layer_norm(rows[-1]))]
        return [ticks_of_rows(row, self.side_by_side) for row in rows]

    def streams(self, mel: Tensor) -> list[Tensor]:
        """mel: [B, mels, M]. Returns the input of the first block and the output of each, [B, M / 2, width]."""
        low = (self.floor + 4) / 4
        # beyond the ends there is silence, not the zeros of a convolution's padding, which would be a sound
        x = F.pad(mel, (2, 1), value=low).to(self.conv1.weight.dtype)
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).mT + self.place
        # digital silence is like an end: nothing is known there, and no row attends to it
        heard = F.pad(mel, (2, 2), value=low).amax(1, keepdim=True) > low + 1e-3
        known = F.max_pool1d(heard.float(), 5, 2)[:, 0] > 0  # what a row's two convolutions see
        band = Band(known, self.band)
        found = [x]
        for layer, bias in zip(self.layers, self.bias, strict=True):
            x = layer(x, band.biased(bias))
            found.append(x)
        return found
