"""Where the tokens of an evaluation come from: a file is decoded and its face encoded once, tokens of all kinds follow.

A model may have two kinds of tokens: of single frames (the paper's), and of frames with their neighbours. They are two
embeddings, so every figure stands in two rows; what a file gives before they part is in `ClipParts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from synclip_core.checkpoint import load_checkpoint
from synclip_core.clock import TICK
from synclip_core.media.audio import read_audio
from synclip_core.pipeline import MIN_TRACK, SyncPipeline
from synclip_core.sync.verdict import SyncThresholds

from ..fingerprint import token_fingerprint

SINGLE, CONTEXT = "single frame", "context"


@dataclass(frozen=True)
class ClipParts:
    """One file, or a cut of it, before anything looks along it.

    frames: float32 [T, width], the vocal prompt of each frame; track: int64 [T], the face track of each tick, -1 where
    no face was seen; waveform: float32 [T * 640], 16 kHz mono.
    """

    frames: np.ndarray
    track: np.ndarray
    waveform: np.ndarray

    def __len__(self) -> int:
        return len(self.track)

    def cut(self, start: int, ticks: int) -> "ClipParts":
        """The cut of `ticks` from `start`, as the pipeline would see it."""
        part = slice(start, start + ticks)
        return ClipParts(self.frames[part], long_tracks(self.track[part]), samples_of(self.waveform, start, ticks))

    def sound(self, waveform: np.ndarray) -> "ClipParts":
        """Another sound, cut or padded to the picture."""
        return replace(self, waveform=fit_waveform(waveform, len(self)))


@dataclass(frozen=True)
class View:
    """One kind of tokens. name: for tables; reach: ticks to each side that a vocal and an audio token see; thresholds:
    of its verdict; whole: the speech encoder hears the whole clip, reach is what comes after it."""

    name: str
    reach: tuple[int, int]
    thresholds: SyncThresholds
    whole: bool = False

    @property
    def sees(self) -> str:
        """The receptive field as the tables show it: frames that one video token and one audio token see."""
        vocal, audio = (str(2 * reach + 1) for reach in self.reach)
        return f"{vocal} + {'whole clip' if self.whole else audio}"


class TokenProvider(Protocol):
    """name: of the embedding, for tables; fingerprint: changes whenever `parts` may; views: the kinds of tokens, that
    which users get last."""

    name: str
    fingerprint: str
    views: Sequence[View]

    def parts(self, path: Path) -> ClipParts:
        """SyncLipError where the file cannot be used."""
        ...

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        """waveform: float32 [n * 640]. Returns float32 [n, D] of each view, L2-normalised."""
        ...

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
        """frames: [n, width] of one face track; valid: bool [n]. Returns float32 [n, D] of each view, L2-normalised."""
        ...


def long_tracks(track: np.ndarray) -> np.ndarray:
    """int64 [T] without the appearances that the pipeline would not take in a file of these ticks alone."""
    numbers, counts = np.unique(track, return_counts=True)
    short = numbers[counts < min(MIN_TRACK, len(track))]
    return np.where(np.isin(track, short), -1, track)


def samples_of(waveform: np.ndarray, start: int, ticks: int) -> np.ndarray:
    """The sound of some ticks."""
    return waveform[start * TICK : (start + ticks) * TICK]


def fit_waveform(waveform: np.ndarray, ticks: int) -> np.ndarray:
    """Exactly `ticks` * 640 samples: trimmed, or padded with silence."""
    wanted = ticks * TICK
    return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform)))).astype(np.float32)


def token_reach(config: Any, context: bool) -> tuple[int, int]:
    """Ticks on each side of its own that a vocal and an audio token see, the speech encoder not counted.

    config: of a model. Models of before there were two kinds of tokens have temporal layers in their only kind.
    """
    if hasattr(config, "reach"):
        return config.reach(context)
    vocal, audio = config.vocal, config.audio
    return vocal.context_depth * (vocal.context_kernel // 2), audio.adapter_depth * (audio.adapter_kernel // 2)


def encoder_reach(model: Any) -> int | None:
    """Ticks to each side that the speech encoder of a model hears; None: the whole clip."""
    if model.config.audio.front_end == "mel":
        return 0
    return model.front_end.reach if hasattr(model.front_end, "band") else None


def view_of(model: Any, name: str, context: bool, thresholds: SyncThresholds) -> View:
    """The kind of tokens of a model as the tables know it."""
    (vocal, audio), encoder = token_reach(model.config, context), encoder_reach(model)
    return View(name, (vocal, audio + (encoder or 0)), thresholds, encoder is None)


def kinds_of(config: Any) -> list[tuple[str, bool]]:
    """(name, context) of each kind of tokens that a model has, the one that users get last."""
    single, context = token_reach(config, False), token_reach(config, True)
    if single == context:
        return [(CONTEXT if any(context) else SINGLE, True)]
    return [(SINGLE, False), (CONTEXT, True)]


class PipelineProvider:
    """The same pipeline that the CLI and the nodes use, so that what is measured is what users get."""

    def __init__(self, checkpoint: Path | None = None, device: str = "cpu") -> None:
        loaded = load_checkpoint(checkpoint)
        config = loaded.model.config
        kinds = kinds_of(config)
        self.contexts = [context for _, context in kinds]
        self.pipelines = [
            SyncPipeline(loaded, device=device, **({} if context else {"context": False})) for _, context in kinds
        ]
        self.views = [
            view_of(loaded.model, name, context, pipeline.thresholds)
            for (name, context), pipeline in zip(kinds, self.pipelines, strict=True)
        ]
        self.name = checkpoint.stem if checkpoint else "bundled"
        self.fingerprint = f"{loaded.sha256} {token_fingerprint()}"

    def parts(self, path: Path) -> ClipParts:
        found = self.pipelines[-1].tokens(path)
        return ClipParts(found.prompts, found.track, fit_waveform(read_audio(path), len(found.track)))

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        return self.pipelines[-1].hear(waveform, self.contexts)

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
        return [pipeline.vocal_tokens(frames, valid) for pipeline in self.pipelines]
