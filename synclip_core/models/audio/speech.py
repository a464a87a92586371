"""Speech front ends by name: each turns a waveform into layers of one row a video frame."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import SyncLipError
from ..config import AudioConfig, SyncLipMAEConfig
from .local_whisper import LocalWhisper
from .mel import MelFrontEnd
from .whisper import WhisperFrontEnd

STRIDE, RECEPTIVE = 320, 400  # samples between two rows of wav2vec2 and HuBERT, and under one of them


def speech_front_end(config: SyncLipMAEConfig, *, ops: Any = nn) -> nn.Module:
    """Build the front end that the config names. Raises SyncLipError where sampling and frame rate do not suit it."""
    audio = config.audio
    if audio.front_end == "mel":
        return MelFrontEnd(audio.width, audio.depth, config.sample_rate, config.fps)
    if config.sample_rate != round(2 * STRIDE * config.fps):
        raise SyncLipError(f"audio.front_end {audio.front_end}: needs 16 kHz sound and 25 fps")
    if audio.front_end == "whisper":  # band 0: as published
        return WhisperFrontEnd(audio, ops=ops) if audio.encoder.get("band") == 0 else LocalWhisper(audio, ops=ops)
    return SpeechEncoder(audio)


class SpeechEncoder(nn.Module):
    """wav2vec2 or HuBERT of transformers, frozen: all hidden states, one row a video frame (AudioConfig.align).

    The weights start random; models/pretrained.py loads published ones. `network` keeps transformers' names.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.network = _network(config).requires_grad_(False).eval()
        self.depth = config.depth
        self.halved = config.align == "waveform"

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Frozen also means: no dropout, no layer drop, no masking."""
        return super().train(False)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: [B, T * 640], 16 kHz mono. Returns `depth` tensors [B, T, width]."""
        x = halve(waveform) if self.halved else waveform
        # zero mean and unit variance of what the network hears (Wav2Vec2FeatureExtractor.do_normalize)
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        x = (x - mean) / (variance + 1e-7).sqrt()
        # centre each row on its stride: then 2 T rows come out, rows 2k and 2k + 1 of video frame k; or T if halved
        margin = (RECEPTIVE - STRIDE) // 2
        rows = self.network(F.pad(x, (margin, margin)), output_hidden_states=True).hidden_states[: self.depth]
        return list(rows) if self.halved else [row.unflatten(1, (-1, 2)).mean(2) for row in rows]


def halve(waveform: Tensor, taps: int = 65) -> Tensor:
    """[B, N] -> [B, N / 2] at half the sampling rate, through a windowed sinc; sample k stays where 2 k was."""
    time = torch.arange(taps, device=waveform.device) - taps // 2
    low_pass = torch.sinc(time / 2) * torch.hann_window(taps + 2, periodic=False, device=waveform.device)[1:-1]
    kernel = (low_pass / low_pass.sum()).to(waveform)
    return F.conv1d(waveform[:, None], kernel[None, None], stride=2, padding=taps // 2)[:, 0]


def rows_of_frames(layers: Sequence[Tensor]) -> list[Tensor]:
    """Hidden states as other programs give them, 50 rows a second, to one row a video frame.

    layers: [1, N, width] each. Unpadded sound of T frames gives N = 2 T - 1 rows: the last one is used twice.
    Returns [1, T, width] each.
    """
    padded = [torch.cat([x, x[:, -1:]], 1) if x.shape[1] % 2 else x for x in layers]
    return [x.float().unflatten(1, (-1, 2)).mean(2) for x in padded]


def _network(audio: AudioConfig) -> nn.Module:
    """transformers' model for this config; imported here because the `mel` front end does without transformers."""
    try:
        from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model
    except ImportError as error:
        raise SyncLipError(
            f"audio.front_end {audio.front_end}: needs the package transformers (pip install transformers): {error}"
        ) from error
    sizes = {
        "hidden_size": audio.width,
        "num_hidden_layers": audio.depth - 1,
        "num_attention_heads": max(1, audio.width // 64),
        "intermediate_size": 4 * audio.width,
    }
    if audio.front_end == "hubert":
        return HubertModel(HubertConfig(**(sizes | audio.encoder)))
    return Wav2Vec2Model(Wav2Vec2Config(**(sizes | audio.encoder)))
