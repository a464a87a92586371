"""Music of a sort, to talk against: chords of plucked or swelling harmonic notes, a bass, a melody and a beat."""

import math

import torch
from torch import Tensor

from .noise import Draws

CHORDS = 4  # a piece goes round four chords
HARMONICS = 6


def music(length: int, rate: int, device: torch.device, noise: Draws) -> Tensor:
    """[B, length] of any level: a piece a clip."""
    draws = noise.uniform(11).to(device).T[..., None]
    root, tempo, late, attack, decay, fall, minor, beat_level, beat_decay, bass, melody = draws
    steps = noise.uniform(CHORDS).to(device)  # [B, CHORDS]
    tunes = noise.uniform(4 * CHORDS).to(device)
    beat_s = 0.25 + 0.45 * tempo
    seconds = torch.arange(length, device=device) / rate + late * 8 * beat_s  # [B, length]
    beat = (seconds / beat_s).floor()
    chord = (beat.long() // 2) % CHORDS
    since_chord, since_beat = seconds % (2 * beat_s), seconds % beat_s
    # 1. the notes' pitches, in semitones over A2 (110 Hz)
    ground = 12 * root + (steps * 12).floor().gather(1, chord)
    third = torch.where(minor < 0.5, 3.0, 4.0)
    tune = (tunes * 5).floor().gather(1, beat.long() % tunes.shape[1]) * 2.4 + 12
    rise, die = 0.005 * 40**attack, 0.2 * 15**decay
    total = torch.zeros_like(seconds)
    # 2. harmonic tones under envelopes that rise and die away: chords slowly, bass and melody with the beat
    for since, notes in (
        (since_chord, ((ground, 1.0), (ground + third, 1.0), (ground + 7, 1.0))),
        (since_beat, ((ground - 12, 2 * bass), (ground + tune, 1.5 * melody))),
    ):
        voices = torch.zeros_like(seconds)
        for semitone, level in notes:
            phase = 2 * math.pi * ((110 * 2 ** (semitone / 12) * since) % 1)
            voices = voices + level * _harmonic(phase, 1 + 2 * fall)
        total = total + voices * (1 - torch.exp(-since / rise)) * torch.exp(-since / die)
    # 3. a beat of noise, on half of the pieces
    hit = noise.grain(length, device=device).to(total) * torch.exp(-since_beat / (0.02 * 5**beat_decay))
    return total + 3 * (beat_level - 0.5).clamp_min(0) * hit


def _harmonic(phase: Tensor, fall: Tensor) -> Tensor:
    """The sum of sin(k phase) / k^fall, each sine from the two before: sin(k a) = 2 cos(a) sin((k - 1) a) - sin((k - 2)
    a)."""
    before, now, twice = torch.zeros_like(phase), phase.sin(), 2 * phase.cos()
    total = now
    for k in range(2, HARMONICS + 1):
        before, now = now, twice * now - before
        total = total + now * float(k) ** -fall
    return total
