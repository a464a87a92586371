"""Sync of a mouth and a voice: the lag of a clip, and the truth along it."""

from .measure import (
    Segment,
    SyncResult,
    SyncThresholds,
    Window,
    distance_curve,
    in_sync_score,
    lag_words,
    measure_sync,
    refine_lag,
)

__all__ = [
    "Segment",
    "SyncResult",
    "SyncThresholds",
    "Window",
    "distance_curve",
    "in_sync_score",
    "lag_words",
    "measure_sync",
    "refine_lag",
]
