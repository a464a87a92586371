"""AUDIO sockets as what the model hears: mono, 16 kHz, whole ticks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av.audio.resampler import AudioResampler

from ...synclip_core.clock import FPS, RATE, TICK
from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.audio import NativeAudio, read_audio_native
from ...synclip_core.media.downmix import to_mono
from ...synclip_core.media.encode import LAYOUTS
from ...synclip_core.media.sound import mono_frame
from ...synclip_core.media.speech import speech_mask
from .values import Tokens

BLOCK_S = 10


def audio_socket(audio: Any) -> np.ndarray:
    """AUDIO {waveform [B, C, N], sample_rate} -> float32 [T * 640]; the first of a batch, channels averaged (of stereo
    whose channels cancel each other, the left one)."""
    waveform, rate = audio["waveform"], int(audio["sample_rate"])
    if waveform.ndim != 3 or waveform.shape[0] < 1 or waveform.shape[-1] < 1:
        raise SyncLipError(f"audio: expected a waveform [batch, channels, samples], got {list(waveform.shape)}.")
    samples = np.nan_to_num(waveform[0].detach().cpu().float().numpy())
    mono = to_mono(samples, [f"channel {k}" for k in range(len(samples))])
    sound = np.concatenate(list(_resampled(mono, rate)))
    ticks = max(1, round(len(mono) / rate * FPS))
    return np.pad(sound, (0, max(0, ticks * TICK - len(sound))))[: ticks * TICK].clip(-1, 1)


def native_audio(audio: Any) -> NativeAudio:
    """AUDIO as it is, rate and channels kept; the first of a batch."""
    waveform = audio["waveform"]
    if waveform.ndim != 3 or waveform.shape[0] < 1 or waveform.shape[1] not in LAYOUTS:
        raise SyncLipError(
            f"audio: expected a waveform [batch, 1 to {max(LAYOUTS)} channels, samples], got {list(waveform.shape)}."
        )
    samples = np.nan_to_num(waveform[0].detach().cpu().float().numpy())
    return NativeAudio(samples, int(audio["sample_rate"]), LAYOUTS[len(samples)])


def audio_of(path: Path) -> dict[str, Any]:
    """The sound of a file as AUDIO, from t = 0 of its video on."""
    sound = read_audio_native(path)
    return {"waveform": torch.from_numpy(sound.samples)[None], "sample_rate": sound.rate}


def encode(pipeline: Any, waveform: np.ndarray, model: str) -> Tokens:
    """Audio tokens with the ticks of speech."""
    return Tokens("audio", pipeline.audio_tokens(waveform), speech_mask(waveform), model)


def encode_layers(pipeline: Any, output: Any, model: str) -> Tokens:
    """output: AUDIO_ENCODER_OUTPUT of ComfyUI's wav2vec2. It holds no sound, so every tick counts as speech."""
    layers = output.get("encoded_audio_all_layers") if isinstance(output, dict) else None
    if not layers:
        raise SyncLipError(
            "audio_encoder_output: holds no hidden layers; connect Audio Encoder Encode with a wav2vec2."
        )
    values = pipeline.layer_tokens(layers)
    return Tokens("audio", values, np.ones(len(values), bool), model)


def _resampled(mono: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    if rate == RATE:
        yield mono
        return
    resampler = AudioResampler(format="fltp", layout="mono", rate=RATE)
    for start in range(0, len(mono), BLOCK_S * rate):
        for frame in resampler.resample(mono_frame(mono[start : start + BLOCK_S * rate], rate)):
            yield frame.to_ndarray()[0]
    for frame in resampler.resample(None):
        yield frame.to_ndarray()[0]
