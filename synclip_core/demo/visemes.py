"""From timed phonemes (espeak-ng names) to the shape of the mouth at any moment.

Targets are blended with dominance functions (Cohen and Massaro 1993): every phoneme pulls the mouth towards its target,
most at its middle, and how hard depends on the phoneme and the parameter, so neighbours colour each other
(coarticulation). Closures of p, b, m are then made exact: they are what an eye checks.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .mouth import MouthShape

LEAD_S = 0.02  # in natural speech mostly 0 to 200 ms (Schwartz and Savariaux 2014)
FIELDS = ("opening", "spread", "rounding", "press", "tuck", "tongue")


@dataclass(frozen=True)
class Phoneme:
    """name: espeak-ng's; start_s, end_s: on the clock of the sound."""

    name: str
    start_s: float
    end_s: float


# opening, spread, rounding, press, tuck, tongue | strength of the pull
_VOWELS: dict[str, tuple[float, ...]] = {
    "i": (0.024, 0.80, 0.0, 0.0, 0.0, 0.4),
    "I": (0.030, 0.50, 0.0, 0.0, 0.0, 0.3),
    "e": (0.052, 0.55, 0.0, 0.0, 0.0, 0.2),
    "E": (0.066, 0.40, 0.0, 0.0, 0.0, 0.1),
    "a": (0.104, 0.30, 0.0, 0.0, 0.0, 0.0),
    "A": (0.120, 0.05, 0.0, 0.0, 0.0, 0.0),
    "0": (0.112, 0.00, 0.1, 0.0, 0.0, 0.0),
    "V": (0.080, 0.10, 0.0, 0.0, 0.0, 0.0),
    "O": (0.074, -0.30, 0.45, 0.0, 0.0, 0.0),
    "o": (0.044, -0.55, 0.75, 0.0, 0.0, 0.0),
    "U": (0.022, -0.60, 0.8, 0.0, 0.0, 0.1),
    "u": (0.014, -0.90, 1.0, 0.0, 0.0, 0.1),
    "3": (0.032, -0.20, 0.3, 0.0, 0.0, 0.2),
    "@": (0.034, 0.00, 0.0, 0.0, 0.0, 0.1),
}
_CONSONANTS: dict[str, tuple[float, ...]] = {
    "p": (0.0, 0.0, 0.0, 0.9, 0.0, 0.0),
    "b": (0.0, 0.0, 0.0, 0.7, 0.0, 0.0),
    "m": (0.0, 0.0, 0.0, 0.6, 0.0, 0.0),
    "f": (0.012, 0.1, 0.0, 0.0, 1.0, 0.0),
    "v": (0.014, 0.1, 0.0, 0.0, 1.0, 0.0),
    "w": (0.006, -0.9, 1.0, 0.0, 0.0, 0.0),
    "r": (0.020, -0.3, 0.45, 0.0, 0.0, 0.3),
    "S": (0.020, -0.3, 0.7, 0.0, 0.0, 0.2),
    "Z": (0.020, -0.3, 0.7, 0.0, 0.0, 0.2),
    "s": (0.014, 0.4, 0.0, 0.0, 0.0, 0.5),
    "z": (0.014, 0.4, 0.0, 0.0, 0.0, 0.5),
    "T": (0.022, 0.1, 0.0, 0.0, 0.0, 1.0),
    "D": (0.022, 0.1, 0.0, 0.0, 0.0, 1.0),
    "t": (0.022, 0.1, 0.0, 0.0, 0.0, 0.8),
    "d": (0.024, 0.1, 0.0, 0.0, 0.0, 0.8),
    "n": (0.026, 0.1, 0.0, 0.0, 0.0, 0.8),
    "l": (0.034, 0.1, 0.0, 0.0, 0.0, 1.0),
    "k": (0.034, 0.1, 0.0, 0.0, 0.0, 0.2),
    "g": (0.034, 0.1, 0.0, 0.0, 0.0, 0.2),
    "N": (0.034, 0.1, 0.0, 0.0, 0.0, 0.2),
    "j": (0.022, 0.6, 0.0, 0.0, 0.0, 0.4),
    "h": (0.040, 0.0, 0.0, 0.0, 0.0, 0.0),
}
_REST = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
# How far before and after its time a phoneme pulls, in seconds: lips round early and let go late.
_REACH = np.array([0.042, 0.075, 0.075, 0.040, 0.040, 0.045])


@dataclass(frozen=True)
class _Pull:
    target: tuple[float, ...]
    start_s: float
    end_s: float
    strength: float


def _pulls(phonemes: list[Phoneme]) -> list[_Pull]:
    pulls = []
    for p in phonemes:
        name = p.name.strip("'`,;:")
        if not name or name[0] == "_":
            pulls.append(_Pull(_REST, p.start_s, p.end_s, 0.5))
            continue
        vowels = [c for c in name if c in _VOWELS]
        if name[0] in _VOWELS and vowels:
            # A diphthong is its two vowels in turn, the first one longer.
            cuts = np.linspace(0, 1, len(vowels) + 1) ** 0.8 * (p.end_s - p.start_s) + p.start_s
            for vowel, (start, end) in zip(vowels, pairwise(cuts), strict=True):
                weak = 0.6 if vowel in "@3" or name.endswith("#") else 1.0
                pulls.append(_Pull(_VOWELS[vowel], float(start), float(end), weak))
        else:
            pulls.append(_Pull(_CONSONANTS.get(name[0], _CONSONANTS["h"]), p.start_s, p.end_s, 0.9))
    return pulls


def closures(phonemes: list[Phoneme]) -> list[tuple[float, float]]:
    """The stretches in which the lips touch: [(start_s, end_s)].

    espeak-ng starts m and b at the closure, and p at its burst, some 70 ms after the lips met.
    """
    found = []
    for p in phonemes:
        if p.name[:1] == "m":
            found.append((p.start_s, p.end_s - 0.012))
        elif p.name[:1] == "b":
            found.append((p.start_s, p.start_s + min(0.055, p.end_s - p.start_s)))
        elif p.name[:1] == "p":
            found.append((p.start_s - 0.070, p.start_s + 0.004))
    return found


def frame_times(count: int, fps: float) -> np.ndarray:
    """The moments of the mouth that the frames of a clip in sync show, in seconds on the sound's clock: [count].

    A frame stands for the time that it is shown, so its middle counts; and lips move before the sound that they shape.
    """
    return (np.arange(count) + 0.5) / fps + LEAD_S


def mouth_track(phonemes: list[Phoneme], times_s: np.ndarray) -> list[MouthShape]:
    """The mouth at each of `times_s` [N] (seconds on the sound's clock)."""
    pulls = _pulls(phonemes)
    total = np.full((len(times_s), len(FIELDS)), 1e-6)
    value = np.zeros_like(total)
    for pull in pulls:
        away = np.maximum(np.maximum(pull.start_s - times_s, times_s - pull.end_s), 0)
        # Inside its span a phoneme dominates most in the middle.
        middle, half = (pull.start_s + pull.end_s) / 2, max((pull.end_s - pull.start_s) / 2, 0.02)
        centre = 1 - 0.5 * np.clip(np.abs(times_s - middle) / half, 0, 1) ** 2
        weight = pull.strength * centre[:, None] * np.exp(-((away[:, None] / _REACH) ** 1.6))
        total += weight
        value += weight * np.array(pull.target)
    shapes = value / total
    contact = _closed(phonemes, times_s)
    shapes[:, 0] *= 1 - contact
    shapes[:, 3] *= contact
    return [MouthShape(**dict(zip(FIELDS, map(float, row), strict=True))) for row in shapes]


def _closed(phonemes: list[Phoneme], times_s: np.ndarray) -> np.ndarray:
    """1 within a closure, falling to 0 over the 60 ms around it, in which the lips travel."""
    closed = np.zeros(len(times_s))
    for start, end in closures(phonemes):
        away = np.maximum(np.maximum(start - times_s, times_s - end), 0)
        t = np.clip(1 - away / 0.060, 0, 1)
        closed = np.maximum(closed, t * t * (3 - 2 * t))
    return closed
