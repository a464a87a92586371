"""Parts of clips kept on disk, so that a second evaluation decodes nothing."""

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import atomic_path

from .provider import ClipParts, TokenProvider

NAMES = ("frames", "track", "waveform")


class CachedProvider:
    """Keeps each file's parts in `folder` as safetensors, named by its content and the provider's fingerprint."""

    def __init__(self, provider: TokenProvider, folder: Path) -> None:
        self.provider, self.folder = provider, folder
        self.name, self.fingerprint, self.views = provider.name, provider.fingerprint, provider.views
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"--cache {folder}: expected a folder that can be written; {error.strerror}") from error

    def parts(self, path: Path) -> ClipParts:
        place = self.folder / f"{self._key(path)}.safetensors"
        if place.is_file():
            try:
                kept = load_file(place)
                return ClipParts(*(kept[name] for name in NAMES))
            except (OSError, KeyError, SafetensorError):  # damaged: make it anew
                place.unlink(missing_ok=True)
        made = self.provider.parts(path)
        with atomic_path(place) as partial:
            save_file({name: np.ascontiguousarray(getattr(made, name)) for name in NAMES}, partial)
        return made

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        return self.provider.audio_tokens(waveform)

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
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
