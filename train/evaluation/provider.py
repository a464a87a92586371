"""Where the tokens of an evaluation come from: the small protocol, the pipeline behind it, and a cache on disk."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import synclip_core
from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.media.audio import read_audio
from synclip_core.pipeline import SyncPipeline
from synclip_core.verdict import SyncThresholds

TICK = 640  # samples a tick at 16 kHz


@dataclass(frozen=True)
class ClipTokens:
    """Tokens of one file.

    audio, vocal: float32 [T, D], L2-normalised; valid: bool [T], ticks with a face; waveform: [T * 640] at 16 kHz.
    frames: float32 [T, ...], what the model knows of each frame before anything that looks along the clip (its mean
    removed, temporal context); None where vocal tokens are truly one frame each.
    """

    audio: np.ndarray
    vocal: np.ndarray
    valid: np.ndarray
    waveform: np.ndarray
    frames: np.ndarray | None = None


class TokenProvider(Protocol):
    """name: of the embedding, for tables; fingerprint: changes whenever tokens may; thresholds: the model's own."""

    name: str
    fingerprint: str
    thresholds: SyncThresholds

    def tokens(self, path: Path) -> ClipTokens:
        """All of one file. SyncLipError where the file cannot be used."""
        ...

    def audio_tokens(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: float32 [n * 640]. Returns float32 [n, D], as `tokens` does for that sound."""
        ...

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """frames: some of `ClipTokens.frames`. Returns float32 [n, D], as for a file of them alone."""
        ...


def fit_waveform(waveform: np.ndarray, ticks: int) -> np.ndarray:
    """Exactly `ticks` * 640 samples: trimmed, or padded with silence."""
    wanted = ticks * TICK
    return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform)))).astype(np.float32)


class PipelineProvider:
    """The same pipeline that the CLI and the nodes use, so that what is measured is what users get."""

    def __init__(self, checkpoint: Path | None = None, device: str = "cpu") -> None:
        loaded = load_checkpoint(checkpoint)
        self.pipeline = SyncPipeline(loaded, device=device)
        self.name = checkpoint.stem if checkpoint else "bundled"
        self.thresholds = self.pipeline.thresholds
        self.fingerprint = _fingerprint(loaded.sha256)

    def tokens(self, path: Path) -> ClipTokens:
        found = self.pipeline.tokens(path)
        waveform = fit_waveform(read_audio(path), len(found.vocal))
        return ClipTokens(found.audio, found.vocal, found.valid, waveform, found.prompts)

    def audio_tokens(self, waveform: np.ndarray) -> np.ndarray:
        return self.pipeline.audio_tokens(waveform)

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return self.pipeline.vocal_tokens(frames, valid)


def _fingerprint(weights: str) -> str:
    """Of the weights file and of the code between file and token: either changes what is cached."""
    digest = hashlib.blake2b(weights.encode(), digest_size=16)
    package = Path(synclip_core.__file__).parent
    for source in sorted([*package.glob("media/*.py"), *package.glob("models/*.py"), package / "pipeline.py"]):
        digest.update(source.read_bytes())
    return digest.hexdigest()


class CachedProvider:
    """Keeps each file's tokens in `folder` as safetensors, named by the file's content and the fingerprint."""

    def __init__(self, provider: TokenProvider, folder: Path) -> None:
        self.provider, self.folder = provider, folder
        self.name, self.fingerprint, self.thresholds = provider.name, provider.fingerprint, provider.thresholds
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"--cache {folder}: expected a folder that can be written; {error.strerror}") from error

    def tokens(self, path: Path) -> ClipTokens:
        place = self.folder / f"{self._key(path)}.safetensors"
        if place.is_file():
            try:
                kept = load_file(place)
                return ClipTokens(
                    kept["audio"], kept["vocal"], kept["valid"].astype(bool), kept["waveform"], kept.get("frames")
                )
            except (OSError, KeyError, SafetensorError):  # damaged: make it anew
                place.unlink(missing_ok=True)
        made = self.provider.tokens(path)
        arrays = {
            "audio": made.audio,
            "vocal": made.vocal,
            "valid": made.valid.astype(np.uint8),
            "waveform": made.waveform,
        }
        if made.frames is not None:
            arrays["frames"] = made.frames
        partial = place.with_suffix(f".{os.getpid()}.part")
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
            os.replace(partial, place)
        finally:
            partial.unlink(missing_ok=True)
        return made

    def audio_tokens(self, waveform: np.ndarray) -> np.ndarray:
        return self.provider.audio_tokens(waveform)

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return self.provider.vocal_tokens(frames, valid)

    def _key(self, path: Path) -> str:
        digest = hashlib.blake2b(self.fingerprint.encode(), digest_size=16)
        try:
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise SyncLipError(f"{path}: cannot be read; {error.strerror}") from error
        return digest.hexdigest()
