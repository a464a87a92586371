"""Clips as they are before anything looks along them, and edits of them that need no decoding.

A file that was cut, stalled, frozen, shifted or dubbed is the same prompts in another order under another sound, so a
kind of damage is made from a clip in a moment, and its tokens are made anew as of a file that shows it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synclip_core.media.audio import read_audio
from synclip_core.media.speech import speech_mask
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along import look
from synclip_core.sync.along.look import MOTION
from train.engine.kept import prompts_key

from ..fingerprint import token_fingerprint
from .cache import PartsCache
from .provider import fit_waveform, samples_of


@dataclass(frozen=True)
class Seen:
    """frames: float32 [T, width], vocal prompts; valid: bool [T]; look: float32 [T, 5]; waveform: float32 [T * 640]."""

    frames: np.ndarray
    valid: np.ndarray
    look: np.ndarray
    waveform: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    def cut(self, start: int, ticks: int) -> "Seen":
        part, sound = slice(start, start + ticks), samples_of(self.waveform, start, ticks)
        return Seen(self.frames[part], self.valid[part], self.look[part], sound)

    def picture(self, order: np.ndarray) -> "Seen":
        """The picture with its frames in another order, int [T']; the sound is fitted to it. A frame shown twice does
        not move."""
        looks = self.look[order].copy()
        looks[1:, MOTION][np.diff(order) == 0] = 0.0
        return Seen(self.frames[order], self.valid[order], looks, fit_waveform(self.waveform, len(order)))

    def sound(self, waveform: np.ndarray) -> "Seen":
        """Another sound, cut or padded to the picture."""
        return replace(self, waveform=fit_waveform(waveform, len(self)))


@dataclass(frozen=True)
class Told:
    """Tokens as the pipeline makes them, for `sync.judge`."""

    audio: np.ndarray
    vocal: np.ndarray
    valid: np.ndarray
    speech: np.ndarray
    look: np.ndarray


def tell(pipeline: SyncPipeline, seen: Seen) -> Told:
    return Told(
        pipeline.audio_tokens(seen.waveform),
        pipeline.vocal_tokens(seen.frames, seen.valid),
        seen.valid,
        speech_mask(seen.waveform),
        seen.look,
    )


def read_seen(pipeline: SyncPipeline, path: Path) -> Seen:
    """Of a file. Raises SyncLipError as the pipeline does."""
    found = pipeline.tokens(path)
    return Seen(found.prompts, found.valid, found.look, fit_waveform(read_audio(path), len(found.valid)))


def seen_cache(pipeline: SyncPipeline, folder: Path) -> PartsCache[Seen]:
    """Keeps what `read_seen` gives: it depends on how a face looks beside what prompts depend on."""
    source = Path(look.__file__).read_text(encoding="utf-8")
    return PartsCache(Seen, folder, f"{prompts_key(pipeline.model)} {token_fingerprint()} {source}")
