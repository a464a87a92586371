"""LSE-C, LSE-D and Sync_conf (UniSync, section IV-B, after SyncNet and Wav2Lip; evaluation.md).

Scores of two embeddings do not compare: every result carries the name of the embedding that made it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .distance import curve_confidence, distance_band, window_curves


@dataclass(frozen=True)
class LipSyncError:
    """lse_c: mean confidence, lse_d: mean minimal distance (None without windows); sync_conf float64 [W]: confidence a
    window.
    """

    embedding: str
    windows: int
    lse_c: float | None
    lse_d: float | None
    sync_conf: np.ndarray


def lip_sync_error(
    audio: Any, vocal: Any, embedding: str, *, window: int = 5, max_lag: int = 15, valid: Any = None, heard: Any = None
) -> LipSyncError:
    """Per sliding window of `window` frames (5: SyncNet's 0.2 s): confidence = median - minimum of D(l), distance =
    minimum.

    audio, vocal: [T, D]; valid, heard: bool [T], as distance_band has them. Windows for which some index u + l does not
    exist or has no face are left out; a clip shorter than 2 * max_lag + window frames has none: no lse_c, no lse_d.
    """
    curves = window_curves(distance_band(audio, vocal, max_lag, valid, heard=heard), window)[1]
    curves = curves[np.isfinite(curves).all(1)]
    confidence = curve_confidence(curves)
    if not len(curves):
        return LipSyncError(embedding, 0, None, None, confidence)
    return LipSyncError(embedding, len(curves), float(confidence.mean()), float(curves.min(1).mean()), confidence)
