"""Clips as they are before anything looks along them, and edits of them that need no decoding.

A file that was cut, stalled, frozen, shifted or dubbed is the same prompts in another order under another sound, so a
kind of damage is made from a clip in a moment, and its tokens are made anew as of a file that shows it.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synclip_core.media.audio import read_audio
from synclip_core.media.speech import speech_mask
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.look import MOTION

from .provider import TICK, fit_waveform


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
        part = slice(start, start + ticks)
        sound = self.waveform[start * TICK : (start + ticks) * TICK]
        return Seen(self.frames[part], self.valid[part], self.look[part], sound)

    def picture(self, order: np.ndarray) -> "Seen":
        """The picture with its frames in another order, int [T']; the sound is fitted to it. A frame shown twice does
        not move."""
        look = self.look[order].copy()
        look[1:, MOTION][np.diff(order) == 0] = 0.0
        return Seen(self.frames[order], self.valid[order], look, fit_waveform(self.waveform, len(order)))

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


def read_seen(pipeline: SyncPipeline, path: Path, cache: Path | None = None) -> Seen:
    """Of a file, kept in the folder `cache` by its content and the checkpoint. Raises SyncLipError as the pipeline."""
    place = None
    if cache is not None:
        key = hashlib.blake2b(path.read_bytes() + pipeline.checkpoint.sha256.encode(), digest_size=16).hexdigest()
        place = cache / f"{key}.npz"
        if place.is_file():
            with np.load(place) as kept:
                return Seen(*(kept[name] for name in ("frames", "valid", "look", "waveform")))
    found = pipeline.tokens(path)
    seen = Seen(found.prompts, found.valid, found.look, fit_waveform(read_audio(path), len(found.valid)))
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, frames=seen.frames, valid=seen.valid, look=seen.look, waveform=seen.waveform)
    return seen
