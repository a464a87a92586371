"""Many channels to one, for a listener who wants the speech."""

from functools import lru_cache

import numpy as np

# Film sound carries speech in the centre; music and effects lie left, right and around. The bass channel is dropped.
OPPOSED = 0.01  # of the channels' power is left of their mean: 20 dB less than either has
_CENTRE, _FRONT, _AROUND = 1.0, 0.35, 0.175


@lru_cache(maxsize=16)
def mono_weights(channels: tuple[str, ...]) -> np.ndarray:
    """Weights [C], summing to 1, for channels named as FFmpeg names them (FL, FR, FC, LFE, BL, ...).

    With a centre: centre 1, front 0.35, others 0.175, LFE 0 before normalising. Without: all but LFE alike.
    """
    bass = np.array([name.startswith("LFE") for name in channels])
    if "FC" in channels and len(channels) > 1:
        raw = np.array([_CENTRE if n == "FC" else _FRONT if n in ("FL", "FR") else _AROUND for n in channels])
    else:
        raw = np.ones(len(channels))
    raw = np.where(bass, 0.0, raw) if not bass.all() else np.ones(len(channels))
    return (raw / raw.sum()).astype(np.float32)


def _opposed(samples: np.ndarray) -> bool:
    """Is one channel the other inverted (a microphone wired wrongly)? Their sum would be silence."""
    power = float(np.square(samples).mean())
    return power > 1e-9 and float(np.square(samples.sum(0) / 2).mean()) < OPPOSED * power


def to_mono(samples: np.ndarray, channels: list[str]) -> np.ndarray:
    """samples: float32 [C, N]. Returns float32 [N]; of stereo whose channels cancel each other, the left one."""
    if samples.shape[0] == 1:
        return samples[0]
    if samples.shape[0] == 2 and _opposed(samples):
        return samples[0]
    return mono_weights(tuple(channels)) @ samples
