"""Kinds of damage made from clips of the val and test splits, each with its truth along the clip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synclip_core.metrics.clip_lag import shift_audio
from synclip_core.sync.along.stretches import MOVES_IN_SILENCE, NO_FACE, NO_SPEECH, NOT_FOLLOWING, STILL
from train.evaluate.sync.seen import Seen

TICK, FPS = 640, 25
LAG, DRIFT = "lag", "drift"  # kinds of truth beside the states
RATES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04)


@dataclass(frozen=True)
class Truth:
    """One stretch of damage. state: a state of the timeline, "lag" (lag_frames) or "drift" (slope, frames a frame)."""

    start_s: float
    end_s: float
    state: str
    lag_frames: float = 0.0
    slope: float = 0.0


@dataclass(frozen=True)
class Made:
    """A damaged clip and its truth; no truth: nothing is wrong with it."""

    kind: str
    name: str
    seen: Seen
    truth: list[Truth]


Others = Mapping[str, Seen]  # clips of other people


def untouched(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    return seen, []


def step(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """The sound jumps by 3 to 20 frames and stays."""
    at, lag = _place(seen, draw), _signed(draw, 3, 21)
    moved = shift_audio(seen.waveform, lag)
    sound = np.concatenate([seen.waveform[: at * TICK], moved[at * TICK :]])
    end = len(seen) - max(lag, 0)
    return seen.cut(0, end).sound(sound), [Truth(at / FPS, end / FPS, LAG, lag)]


def stall(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """The picture stops for 5 to 15 ticks and stays late by them."""
    at, late = _place(seen, draw), int(draw.integers(5, 16))
    order = np.concatenate([np.arange(at), np.full(late, at), np.arange(at, len(seen) - late)])
    return seen.picture(order), [Truth(at / FPS, len(seen) / FPS, LAG, late)]


def drift(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """The sound runs slow or fast, by 0.05 to 4 %."""
    slope = float(draw.choice(RATES)) * float(draw.choice([-1, 1]))
    # a sound of tick u comes from u * (1 + slope): its picture is slope * u later
    place = np.arange(len(seen.waveform)) * (1 + slope)
    sound = np.interp(place, np.arange(len(seen.waveform)), seen.waveform).astype(np.float32)
    end = int(len(seen) / (1 + slope)) if slope > 0 else len(seen)
    moved = seen.cut(0, end).sound(sound)
    told = abs(slope) * end >= 2.5  # less than that strays by no more than the tolerance and a half
    return moved, [Truth(0, end / FPS, DRIFT, 0, slope)] if told else []


def frozen(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """The picture stands for 2 to 5 s, then jumps to where it belongs."""
    ticks = int(draw.integers(50, 126))
    at = _place(seen, draw, ticks)
    order = np.arange(len(seen))
    order[at : at + ticks] = at
    return seen.picture(order), [Truth(at / FPS, (at + ticks) / FPS, STILL)]


def stops(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """From some point on the face moves as it would, but not with the voice: its frames run backwards."""
    at = _place(seen, draw, 100)
    order = np.concatenate([np.arange(at), np.arange(at, len(seen))[::-1]])
    return seen.picture(order), [Truth(at / FPS, len(seen) / FPS, NOT_FOLLOWING)]


def foreign(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """Somebody else's voice for 3 to 6 s."""
    ticks = int(draw.integers(75, 151))
    at = _place(seen, draw, ticks)
    sound = seen.waveform.copy()
    long = [name for name, other in sorted(others.items()) if len(other) >= ticks]
    other = others[long[int(draw.integers(len(long)))]]
    first = int(draw.integers(0, len(other) - ticks + 1))
    voice = other.waveform[first * TICK : (first + ticks) * TICK]
    level = np.sqrt(np.mean(seen.waveform**2)) / max(float(np.sqrt(np.mean(voice**2))), 1e-6)
    sound[at * TICK : (at + ticks) * TICK] = np.clip(voice * min(level, 10), -1, 1)
    return seen.sound(sound), [Truth(at / FPS, (at + ticks) / FPS, NOT_FOLLOWING)]


def silence(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """The sound is gone for 3 to 5 s while the mouth goes on."""
    ticks = int(draw.integers(75, 126))
    at = _place(seen, draw, ticks)
    sound = seen.waveform.copy()
    sound[at * TICK : (at + ticks) * TICK] = 0
    return seen.sound(sound), [Truth(at / FPS, (at + ticks) / FPS, MOVES_IN_SILENCE)]


def gap(seen: Seen, others: Others, draw: np.random.Generator) -> tuple[Seen, list[Truth]]:
    """No face for 2 to 4 s."""
    ticks = int(draw.integers(50, 101))
    at = _place(seen, draw, ticks)
    valid, look = seen.valid.copy(), seen.look.copy()
    valid[at : at + ticks] = False
    look[at : at + ticks] = np.nan
    return Seen(seen.frames, valid, look, seen.waveform), [Truth(at / FPS, (at + ticks) / FPS, NO_FACE)]


KINDS: dict[str, Callable[[Seen, Others, np.random.Generator], tuple[Seen, list[Truth]]]] = {
    "step": step,
    "stall": stall,
    "drift": drift,
    "frozen picture": frozen,
    "sync stops": stops,
    "foreign voice": foreign,
    "silence": silence,
    "no face": gap,
}

# a state that says the same of a stretch
SAME = {MOVES_IN_SILENCE: (MOVES_IN_SILENCE, NO_SPEECH)}


def _place(seen: Seen, draw: np.random.Generator, ticks: int = 0) -> int:
    """A tick with 3 s before it and after the damage."""
    low, high = 75, max(76, len(seen) - ticks - 75)
    return int(draw.integers(low, max(high, low + 1)))


def _signed(draw: np.random.Generator, low: int, high: int) -> int:
    return int(draw.integers(low, high)) * int(draw.choice([-1, 1]))
