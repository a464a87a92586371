"""Where is there speech? A trained detector (`network`), and its answers as one a tick (`mask`)."""

from .mask import SpeechStream, runs, speech_mask, speech_ticks

__all__ = ["SpeechStream", "runs", "speech_mask", "speech_ticks"]
