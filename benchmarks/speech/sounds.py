"""Sounds of known speech: GRID's sentences with the times of their words, alone and under music and noise."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.worse.sound import music as pop
from benchmarks.worse.sound import pink, white
from synclip_core.clock import RATE, TICK
from synclip_core.media.audio import read_audio
from train.data.music import music
from train.data.noise import Noise

PAUSES = ("sil", "sp")
SNR_DB = (20, 10, 5, 0)
QUIET_DB = (-20, -40)
SECONDS = 10  # of a sound without speech

Background = Callable[[int, int], np.ndarray]  # (samples, seed) -> float [samples], 16 kHz, of any level


@dataclass(frozen=True)
class Sentence:
    """sound: float32 [N], 16 kHz; words, pauses: bool [T], ticks that lie wholly in one or the other."""

    sound: np.ndarray
    words: np.ndarray
    pauses: np.ndarray


def sentences(data: Path, split: str, count: int) -> list[Sentence]:
    """The first `count` clips of GRID's speaker s1 in this split."""
    times: dict[str, list[dict[str, str]]] = {}
    with open(data / "grid_s1_align.csv", newline="") as lines:
        for row in csv.DictReader(lines):
            times.setdefault(row["file"], []).append(row)
    with open(data / "clips.csv", newline="") as lines:
        files = sorted(row["file"] for row in csv.DictReader(lines) if row["split"] == split)
    known = [file for file in files if file.startswith("grid_s1/") and Path(file).name in times]
    return [_sentence(read_audio(data / file), times[Path(file).name]) for file in known[:count]]


def _sentence(sound: np.ndarray, rows: list[dict[str, str]]) -> Sentence:
    spoken = np.zeros(len(sound), bool)
    for row in rows:
        if row["word"] not in PAUSES:
            spoken[round(float(row["start_s"]) * RATE) : round(float(row["end_s"]) * RATE)] = True
    share = spoken.reshape(-1, TICK).mean(1)
    return Sentence(sound, share == 1, share == 0)


def backgrounds(recorded: Path | None) -> dict[str, Background]:
    """By name; recorded: a folder of music, as files that PyAV reads."""
    found: dict[str, Background] = {
        "music": _chords,
        "pop": lambda samples, seed: pop(samples, np.random.default_rng(seed)),
        "pink": lambda samples, seed: pink(samples, np.random.default_rng(seed)),
        "white": lambda samples, seed: white(samples, np.random.default_rng(seed)),
    }
    if recorded is not None:
        files = sorted(path for path in recorded.rglob("*") if path.suffix.lower() in (".ogg", ".mp3", ".flac", ".wav"))
        found["recorded"] = lambda samples, seed: _recorded(files[seed % len(files)], samples, seed)
    return found


def unit(sound: np.ndarray) -> np.ndarray:
    """Of power 1, float32."""
    return (sound / (np.sqrt(np.mean(np.square(sound))) + 1e-9)).astype(np.float32)


def _chords(samples: int, seed: int) -> np.ndarray:
    return music(samples, RATE, torch.device("cpu"), Noise([seed]))[0].numpy()


@cache
def _read(file: Path) -> np.ndarray:
    return read_audio(file)


def _recorded(file: Path, samples: int, seed: int) -> np.ndarray:
    """A stretch of it from a random moment on."""
    whole = _read(file)
    start = np.random.default_rng(seed).integers(max(len(whole) - samples, 0) + 1)
    return np.resize(whole[start : start + samples], samples)


def mixed(sentence: Sentence, seed: int, behind: dict[str, Background]) -> Iterator[tuple[str, np.ndarray]]:
    """(condition, sound): the sentence as it is, quieter, and with each background so many dB below its words."""
    yield "clean", sentence.sound
    for level in QUIET_DB:
        yield f"clean, {level} dB", sentence.sound * np.float32(10 ** (level / 20))
    power = np.square(sentence.sound.reshape(-1, TICK)[sentence.words]).mean()
    for name, background in behind.items():
        other = unit(background(len(sentence.sound), seed)) * np.float32(np.sqrt(power))
        for snr in SNR_DB:
            yield f"{name}, {snr} dB", np.clip(sentence.sound + other * np.float32(10 ** (-snr / 20)), -1, 1)


def without_speech(count: int, behind: dict[str, Background]) -> Iterator[tuple[str, np.ndarray]]:
    """(kind, sound of SECONDS): the backgrounds alone, loud and soft, a quiet room, and digital silence."""
    samples = SECONDS * RATE
    yield "silence", np.zeros(samples, np.float32)
    for seed in range(count):
        yield "room", 0.001 * unit(pink(samples, np.random.default_rng(seed)))
        for name, background in behind.items():
            sound = unit(background(samples, seed))
            for level in (0.2, 0.02):
                yield f"{name} alone", np.clip(level * sound, -1, 1)
