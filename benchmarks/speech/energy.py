"""The detector that the library had before: adaptive, of energy. It knows level, not meaning: music or a crowd over a
quiet floor passes as speech."""

import numpy as np

from synclip_core.clock import RATE, TICK
from synclip_core.media.speech import runs

_HOP = 160  # 10 ms
HOPS = TICK // _HOP  # in a tick
_FRAME = 400  # 25 ms
_BLOCK_HOPS = 6000  # a minute at a time keeps memory flat
_BAND_HZ = (150.0, 4000.0)  # speech; keeps mains hum and hiss out

ABSOLUTE_DB = -60.0  # quieter than this is silence whatever else the clip holds
# a stretch whose level varies less is stationary: noise or hum (white noise: 2 dB; dense music with voice: 7 dB)
RANGE_DB = 5.0
ABOVE_FLOOR_DB = 9.0  # speech stands this far over the floor ...
BELOW_PEAK_DB = (35.0, 18.0)  # ... but the threshold stays within this range below the local peak
_STRETCH_HOPS, _STRETCH_STEP = 3000, 1000  # floor and peak follow the clip: 30 s around, every 10 s
_BRIDGE_TICKS, _BURST_TICKS = 4, 2  # gaps up to 160 ms are closed, bursts of 40 ms dropped


def band_level(waveform: np.ndarray, hops: int) -> np.ndarray:
    """Level of the speech band in dB (a full-scale sine is about -3), one value every 10 ms.

    waveform: float [N], 16 kHz mono; beyond its end is silence.
    """
    window = np.hanning(_FRAME).astype(np.float32)
    frequency = np.fft.rfftfreq(_FRAME, 1 / RATE)
    keep = (frequency >= _BAND_HZ[0]) & (frequency <= _BAND_HZ[1])
    pad = (_FRAME - _HOP) // 2
    levels = np.full(hops, -120.0)
    for start in range(0, hops, _BLOCK_HOPS):
        stop = min(start + _BLOCK_HOPS, hops)
        first, last = start * _HOP - pad, (stop - 1) * _HOP - pad + _FRAME
        piece = np.nan_to_num(waveform[max(first, 0) : min(last, len(waveform))].astype(np.float32))
        piece = np.pad(piece, (max(-first, 0), max(last - len(waveform), 0)))
        frames = np.lib.stride_tricks.sliding_window_view(piece, _FRAME)[::_HOP]
        power = (np.abs(np.fft.rfft(frames * window, axis=1)[:, keep]) ** 2).sum(1) * 2 / (_FRAME * (window**2).sum())
        levels[start:stop] = 10 * np.log10(np.maximum(power, 1e-12))
    return levels


def _floor_and_peak(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """10th and 97th percentile of the level in the 30 s around each hop. Digital silence takes no part in the floor: a
    padded or shifted clip keeps the floor of its room.
    """
    centres = np.arange(0, max(len(levels), 1), _STRETCH_STEP)
    floors, peaks = [], []
    for centre in centres:
        near = levels[max(0, centre - _STRETCH_HOPS // 2) : centre + _STRETCH_HOPS // 2]
        sounding = near[near > -90]
        floors.append(np.percentile(sounding, 10) if len(sounding) else -120.0)
        peaks.append(np.percentile(near, 97))
    hops = np.arange(len(levels))
    return np.interp(hops, centres, floors), np.interp(hops, centres, peaks)


def energy(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """waveform: float [N > 0], 16 kHz mono, -1..1. Of each of ceil(N / 640) ticks by how many dB its loudest 10 ms are
    over the threshold (-120 where the sound is stationary), and whether it counted as speech."""
    ticks = -(-len(waveform) // TICK)
    levels = band_level(waveform, ticks * HOPS)
    floor, peak = _floor_and_peak(levels)
    # a pause of a minute does not turn its breathing into speech
    peak = np.maximum(peak, np.percentile(levels, 97) - 25)
    threshold = np.clip(floor + ABOVE_FLOOR_DB, peak - BELOW_PEAK_DB[0], peak - BELOW_PEAK_DB[1])
    over = np.where(peak - floor > RANGE_DB, levels - np.maximum(threshold, ABSOLUTE_DB), -120.0).reshape(ticks, HOPS)
    mask = (over > 0).sum(1) >= 2
    for begin, end in runs(mask, False):
        if begin > 0 and end < ticks and end - begin <= _BRIDGE_TICKS:
            mask[begin:end] = True
    for begin, end in runs(mask, True):
        if end - begin < _BURST_TICKS:
            mask[begin:end] = False
    return over.max(1), mask
