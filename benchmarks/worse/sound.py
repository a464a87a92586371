"""A sound made worse, for benchmarks.robustness: numpy and scipy, written apart from what training does to sounds.

Waveforms are float32 [N], 16 kHz mono. Nothing moves in time: filters have zero phase, rooms keep the direct path.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, fftconvolve, istft, resample, sosfiltfilt, stft

from synclip_core.clock import RATE, TICK
from synclip_core.media.speech import speech_mask


def voice_level(x: np.ndarray) -> float:
    """RMS over the ticks with speech in them (of all, where there is none)."""
    ticks = x[: len(x) // TICK * TICK].reshape(-1, TICK)
    talk = speech_mask(x)[: len(ticks)]
    return float(np.sqrt((ticks[talk] if talk.any() else ticks).astype(np.float64).__pow__(2).mean()) + 1e-9)


def with_other(x: np.ndarray, other: np.ndarray, snr_db: float) -> np.ndarray:
    """x and, so many decibel below its voice, another sound; turned down where the sum would clip."""
    level = voice_level(x) / (np.sqrt(np.mean(other**2)) + 1e-9) * 10 ** (-snr_db / 20)
    return below_one(x + level * other)


def below_one(x: np.ndarray) -> np.ndarray:
    return (x / max(1.0, float(np.abs(x).max()) / 0.99)).astype(np.float32)


def white(length: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=length)


def pink(length: int, rng: np.random.Generator) -> np.ndarray:
    """3 dB less an octave, above 20 Hz."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20)), length)


def music(length: int, rng: np.random.Generator) -> np.ndarray:
    """A pop song of a sort: I-V-vi-IV in a random key, broken chords of saw-like notes, bass, bass drum and hi-hat."""
    time = np.arange(length) / RATE
    beat = 60 / rng.uniform(85, 140)
    key = rng.integers(0, 12)
    total = np.zeros(length)

    def note(start: float, lasts: float, semitone: float, level: float) -> None:
        begin, end = int(start * RATE), min(int((start + lasts) * RATE), length)
        t = time[: max(end - begin, 0)]
        hz = 130.8 * 2 ** ((semitone + key) / 12)
        tone = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 9) if k * hz < 7000)
        total[begin:end] += level * tone * np.exp(-2 * t / lasts) * np.minimum(1, t / 0.01)

    for index in range(int(length / RATE / beat * 2) + 1):  # eighth notes
        start = index * beat / 2
        chord = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))[index // 8 % 4]
        note(start, beat, chord[index % 3] + 12 * (index % 2), 0.5)
        if index % 2 == 0:
            note(start, beat, chord[0] - 12, 0.8)
        begin = int(start * RATE)
        t = time[: max(min(length - begin, 3000), 0)]
        drum = np.sin(2 * np.pi * 60 * t) * np.exp(-t / 0.06) * 1.5 if index % 4 == 0 else 0
        total[begin : begin + len(t)] += drum + 0.3 * rng.normal(size=len(t)) * np.exp(-t / 0.02)
    return total


def babble(length: int, voices: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Other voices at one level, each from a random moment on and over again."""
    level = [np.roll(np.resize(v, length), rng.integers(length)) / voice_level(v) for v in voices]
    return np.sum(level, 0)


def in_room(x: np.ndarray, rt60_s: float, rng: np.random.Generator) -> np.ndarray:
    """A tail of noise that falls by 60 dB in rt60_s, from 2 ms on, as loud in all as the direct sound."""
    t = np.arange(int(rt60_s * 1.2 * RATE)) / RATE
    tail = rng.normal(size=len(t)) * 10 ** (-3 * t / rt60_s) * (t > 0.002)
    tail /= np.sqrt((tail**2).sum())
    return below_one(x + fftconvolve(x, tail)[: len(x)])


def band(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Only `low` to `high` Hz, 24 dB an octave beyond (48 with both directions)."""
    return below_one(sosfiltfilt(butter(4, [low, high], "bandpass", fs=RATE, output="sos"), x))


def faster(x: np.ndarray, speed: float) -> np.ndarray:
    """Played at that speed; the pitch goes with it."""
    return resample(x, round(len(x) / speed)).astype(np.float32)


def other_throat(x: np.ndarray, factor: float) -> np.ndarray:
    """Pitch and formants times `factor`, time as it was: resampled, then stretched back by a phase vocoder.

    Frames are centred, so that nothing drifts (FFmpeg's atempo is up to 17 ms off).
    """
    size, hop = 1024, 128
    squeezed = faster(x, factor)
    _, _, spectrum = stft(squeezed, nperseg=size, noverlap=size - hop)
    place = np.arange(0, len(x) + hop, hop) / factor / hop
    place = place[place < spectrum.shape[1] - 1]
    before, share = place.astype(int), place % 1
    magnitude = (1 - share) * np.abs(spectrum[:, before]) + share * np.abs(spectrum[:, before + 1])
    step = np.angle(spectrum[:, before + 1]) - np.angle(spectrum[:, before])
    usual = 2 * np.pi * hop * np.arange(size // 2 + 1)[:, None] / size
    step = usual + (step - usual + np.pi) % (2 * np.pi) - np.pi
    phase = np.angle(spectrum[:, :1]) + np.concatenate([np.zeros_like(step[:, :1]), np.cumsum(step[:, :-1], 1)], 1)
    _, y = istft(magnitude * np.exp(1j * phase), nperseg=size, noverlap=size - hop)
    return below_one(np.pad(y, (0, max(0, len(x) - len(y))))[: len(x)])
