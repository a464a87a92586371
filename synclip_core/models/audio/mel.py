"""The `mel` front end: log-mel frames, four to a video frame. No weights; what the bundled checkpoint listens with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import SyncLipError

WINDOW, HOP, FFT = 400, 160, 512  # 25 ms, 10 ms at 16 kHz
FLOOR = 1e-6  # power of a mel band under which there is nothing but digital silence
RANGE = 12.0  # nats below the clip's loudest band that still count, about 52 dB


def mel_filterbank(bands: int, sample_rate: int, low: float = 60.0, high: float = 7600.0) -> Tensor:
    """Triangular HTK mel filters, [bands, FFT // 2 + 1], each with peak 1."""

    def to_mel(hz: float) -> float:
        return 2595.0 * math.log10(1.0 + hz / 700.0)

    edges = torch.linspace(to_mel(low), to_mel(high), bands + 2, dtype=torch.float64)
    hz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    bins = torch.linspace(0, sample_rate / 2, FFT // 2 + 1, dtype=torch.float64)
    up = (bins[None] - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    down = (hz[2:, None] - bins[None]) / (hz[2:] - hz[1:-1])[:, None]
    return torch.minimum(up, down).clamp_min(0).float()


@dataclass(frozen=True)
class MelStatistics:
    """Of a clip: floor [B, 1, 1], mean and scale [B, bands, 1]."""

    floor: Tensor
    mean: Tensor
    scale: Tensor

    def applied(self, log_mel: Tensor) -> Tensor:
        """[B, bands, m] of the clip, normalised."""
        return (log_mel.maximum(self.floor) - self.mean) / self.scale


class MelFrontEnd(nn.Module):
    """Waveform -> `sub_frames` layers of normalised log-mel, one row a video frame.

    Each band is normalised by its mean and deviation over the clip, which takes microphone, room and much of the
    voice out.
    Digital silence does not take part in the statistics: padding must not change the tokens of the speech beside it.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, bands: int, sub_frames: int, sample_rate: int, fps: float) -> None:
        super().__init__()
        if sample_rate != round(fps * sub_frames * HOP):
            raise SyncLipError(f"audio.depth: {sub_frames} rows of 10 ms do not fill a frame at {fps:g} fps")
        self.sub_frames = sub_frames
        self.register_buffer("filters", mel_filterbank(bands, sample_rate), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """waveform: [B, N] -> [B, bands, T * sub_frames], log of power, centred at 0, 10, 20, 30 ms of the frame."""
        spectrum = torch.stft(
            waveform, FFT, HOP, WINDOW, self.window.to(waveform), center=True, pad_mode="constant", return_complex=True
        )
        power = spectrum.real**2 + spectrum.imag**2
        mel = self.filters.to(power) @ power
        frames = waveform.shape[-1] // (HOP * self.sub_frames)
        return mel[..., : frames * self.sub_frames].clamp_min(FLOOR).log()

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Per-band mean and variance normalisation over the clip's audible frames; [B, bands, M] -> the same."""
        return self.statistics([log_mel]).applied(log_mel)

    def statistics(self, parts: Sequence[Tensor]) -> "MelStatistics":
        """Of a clip whose log-mel comes in parts along time, [B, bands, m] each."""
        peaks = [part.amax(1, keepdim=True) for part in parts]
        floor = torch.cat(peaks, 2).amax(2, keepdim=True) - RANGE
        # a frame is audible unless the whole of it, or of a neighbour that its window touches, is digital silence
        silent = (torch.cat(peaks, 2) <= math.log(FLOOR) + 1e-3).to(floor)
        audible = 1 - F.max_pool1d(silent, 5, stride=1, padding=2)
        count = audible.sum(2, keepdim=True).clamp_min(1)
        weighed = list(zip(parts, audible.split([part.shape[2] for part in parts], 2), strict=True))
        sums = [(part.maximum(floor) * weight).sum(2, keepdim=True) for part, weight in weighed]
        mean = torch.stack(sums).sum(0) / count
        squares = [((part.maximum(floor) - mean).square() * weight).sum(2, keepdim=True) for part, weight in weighed]
        return MelStatistics(floor, mean, (torch.stack(squares).sum(0) / count).sqrt() + 0.3)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: [B, N], -1..1, N a multiple of a video frame. Returns `sub_frames` tensors [B, T, bands]."""
        return self.layers(self.normalise(self.log_mel(waveform)))

    def layers(self, mel: Tensor) -> list[Tensor]:
        """[B, bands, T * sub_frames] -> `sub_frames` tensors [B, T, bands]."""
        batch, bands, _ = mel.shape
        return list(mel.view(batch, bands, -1, self.sub_frames).permute(3, 0, 2, 1))
