"""The main job: `SyncPipeline` sees, hears, chooses and judges, with a file for each."""

from ..tokens.audio_stream import CONTEXT, TICK
from ..tokens.streams import TokenStreams
from .choosing import MIN_TRACK
from .sync_pipeline import SyncPipeline

__all__ = ["CONTEXT", "MIN_TRACK", "TICK", "SyncPipeline", "TokenStreams"]
