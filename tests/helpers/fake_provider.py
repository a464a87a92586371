"""A provider for `train.evaluate` whose tokens are a fixed projection of the samples: every answer is known."""

import csv
import json
from pathlib import Path

import numpy as np

from synclip_core.errors import SyncLipError
from synclip_core.sync.verdict import SyncThresholds
from train.evaluate.sync.provider import CONTEXT, SINGLE, ClipParts, View

COLUMNS = ["file", "split", "kind", "sync", "notes"]
PROJECTION = np.random.default_rng(0).standard_normal((640, 64)).astype(np.float32)
ENDS = np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)  # what 8 ticks of context know of an end


def unit(tokens: np.ndarray) -> np.ndarray:
    return (tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def project(waveform: np.ndarray) -> np.ndarray:
    return unit(waveform.reshape(-1, 640) @ PROJECTION)


class FakeProvider:
    """A "file" holds JSON: seed, seconds, own (lag of the clip). Its sound is noise in syllables, the prompts of its
    video are the same tokens, moved by the clip's own lag. `blind`: a video that knows nothing."""

    name, fingerprint = "fake", "f0"

    def __init__(self, blind: bool = False) -> None:
        self.blind, self.made = blind, 0
        self.views = [View(SINGLE, (0, 0), SyncThresholds())]

    def parts(self, path: Path) -> ClipParts:
        self.made += 1
        text = path.read_text()
        if text == "crash":
            raise RuntimeError("decoder gave up")
        if text == "no face":
            raise SyncLipError(f"{path}: no face was found")
        spec = json.loads(text)
        generator = np.random.default_rng(spec["seed"])
        samples = spec["seconds"] * 16000
        envelope = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * np.arange(samples) / 16000)
        waveform = (0.1 * envelope * generator.standard_normal(samples)).astype(np.float32)
        source = project(waveform)
        frames = np.roll(source, spec["own"], axis=0) + 0.03 * generator.standard_normal(source.shape)
        if self.blind:
            frames = generator.standard_normal(source.shape)
        return ClipParts(unit(frames), np.zeros(len(source), np.int64), waveform)

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        return [project(waveform)]

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
        return [unit(frames)]


class TwoKinds(FakeProvider):
    """Beside the single-frame tokens, tokens with 8 ticks of context that know how far the next end is, in both
    streams alike: what zero padding teaches."""

    def __init__(self, blind: bool = False) -> None:
        super().__init__(blind)
        self.views = [View(SINGLE, (0, 0), SyncThresholds()), View(CONTEXT, (8, 8), SyncThresholds())]

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        return [project(waveform), marked(project(waveform))]

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
        return [unit(frames), marked(unit(frames))]


def marked(tokens: np.ndarray) -> np.ndarray:
    tokens = tokens.copy()
    for k, mark in enumerate(ENDS[: len(tokens) // 2]):
        tokens[k] += mark
        tokens[-1 - k] -= mark
    return unit(tokens)


def make_data(folder: Path, extra: list[tuple[str, str, str, str]] = []) -> Path:  # noqa: B006
    """clips.csv and "files" of every subset in val and test. extra: (file, split, kind, its text)."""
    rows = []
    for split in ("val", "test"):
        for i in range(4):
            row = (f"grid_s1/{split}{i}.mp4", split, "real", "trusted", "")
            rows.append((*row, {"seed": len(rows), "seconds": 3, "own": 0}))
        row = (f"talk/{split}u.mp4", split, "real", "trusted", "")
        rows.append((*row, {"seed": len(rows), "seconds": 3, "own": 0}))
        row = (f"talk/{split}s1.mp4", split, "real", "trusted", "x; GRID s1 speaker")
        rows.append((*row, {"seed": 70, "seconds": 3, "own": 0}))
        for i in range(2):
            row = (f"talk/{split}w{i}.mp4", split, "real", "unknown", "")
            rows.append((*row, {"seed": 50 + len(rows), "seconds": 11, "own": -2}))
        row = (f"talk/{split}g.mp4", split, "generated", "unknown", "")
        rows.append((*row, {"seed": len(rows), "seconds": 6, "own": 3}))
    for sub in ("grid_s1", "talk"):
        (folder / sub).mkdir(parents=True)
    with open(folder / "clips.csv", "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        for *row, spec in rows:
            writer.writerow(row)
            (folder / row[0]).write_text(json.dumps(spec))
        for file, split, kind, text in extra:
            writer.writerow([file, split, kind, "unknown", ""])
            (folder / file).write_text(text)
    return folder
