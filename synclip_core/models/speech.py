"""Speech front ends by name: each turns a waveform into layers of one row a video frame."""

from typing import Any

from torch import nn

from ..errors import SyncLipError
from .config import SyncLipMAEConfig
from .mel import MelFrontEnd


def speech_front_end(config: SyncLipMAEConfig, *, ops: Any = nn) -> nn.Module:
    """Build the front end that the config names. Raises SyncLipError on an unknown name."""
    audio = config.audio
    if audio.front_end == "mel":
        return MelFrontEnd(audio.width, audio.depth, config.sample_rate, config.fps)
    raise SyncLipError(f"audio.front_end: expected mel, wav2vec2 or hubert, got {audio.front_end!r}")
