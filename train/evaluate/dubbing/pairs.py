"""Pairs of clips, each dubbed in every way that the report has a row for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synclip_core.clock import TICK
from synclip_core.dubbing.face import FacePath, follow_face
from synclip_core.dubbing.job import DubOptions, dub
from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams
from train.dubbing.export import Trained
from train.dubbing.painter import TorchPainter

from ..clips import Clip
from .measure import Change

DUBBED = ("audio", "video", "shuffled", "own voice", "silence")
ROWS = ("real", "untouched", *DUBBED)


@dataclass
class Options:
    """clips: of each subset, none over `longest` s; steps, guidance: of sampling; videos: folder of the results, or
    None."""

    clips: int = 10
    longest: float = 12.0
    steps: int = 12
    guidance: float = 1.0
    seed: int = 0
    videos: Path | None = None


@dataclass
class Subject:
    """A clip with what dubbing it needs. tokens: of the driver; silence: its audio tokens of no sound, as many."""

    clip: Clip
    tokens: TokenStreams
    silence: np.ndarray
    face: FacePath


@dataclass
class Pair:
    """A subject, the one whose voice and mouth it was given, and what came of it: the video and the figures of each
    row."""

    own: Subject
    other: Subject
    videos: dict[str, Path]
    rows: dict[str, dict[str, Any]]


def subject_of(clip: Clip, trained: Trained, driver: SyncPipeline) -> Subject:
    tokens = driver.tokens(clip.path)
    if not tokens.valid.any():
        raise SyncLipError("no face was found")
    silence = driver.audio_tokens(np.zeros(len(tokens.valid) * TICK, np.float32))
    return Subject(clip, tokens, silence, follow_face(clip.path, trained.size, trained.margin))


def dubbed_pair(
    own: Subject, other: Subject, trained: Trained, options: Options, work: Path
) -> tuple[Pair, list[np.ndarray]]:
    """And pictures: a frame of the source and of each dub."""
    pair = Pair(own, other, {"real": other.clip.path, "untouched": own.clip.path}, {"real": {}, "untouched": {}})
    pictures: list[np.ndarray] = []
    for name in DUBBED:
        target = (options.videos or work) / f"{own.clip.path.stem}-{name.replace(' ', '-')}.mp4"
        tokens, valid = (torch.from_numpy(part) for part in tokens_of(name, own, other, options.seed))
        painter = TorchPainter(trained, tokens, valid, options.steps, options.guidance, options.seed)
        change = Change(own.face)
        how = DubOptions(crf=12, refresh=trained.file.refresh)
        parts = dub(own.clip.path, target, own.face, painter, how, watch=change.watch)
        source, result = change.joins(parts)
        inner = np.mean(list(change.steps.values()), 0) if change.steps else (np.nan, np.nan)
        row = {"outside": change.outside, "join_source": source, "join": result}
        row |= {"step_source": float(inner[0]), "step": float(inner[1])}
        if name == "own voice":
            row |= {"psnr": change.psnr, "ssim": change.ssim}
        pair.videos[name], pair.rows[name] = target, row
        before, after = change.pictures[len(change.pictures) // 2]
        pictures += [before, after] if not pictures else [after]
    return pair, pictures


def tokens_of(name: str, own: Subject, other: Subject, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What drives a row [T, D], and which of it counts."""
    if name == "video":
        return other.tokens.vocal, other.tokens.valid
    audio = {"own voice": own.tokens.audio, "silence": own.silence}.get(name, other.tokens.audio)
    if name == "shuffled":
        audio = np.random.default_rng(seed).permutation(audio)
    return audio, np.ones(len(audio), bool)
