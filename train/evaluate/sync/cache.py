"""Parts of clips kept on disk, so that a second evaluation decodes nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import atomic_path

from .provider import ClipParts, TokenProvider

T = TypeVar("T")


class PartsCache(Generic[T]):
    """Keeps what is made of each file in `folder` as safetensors, named by its content and a fingerprint.

    kind: a dataclass of arrays; fingerprint: changes whenever what is made may.
    """

    def __init__(self, kind: type[T], folder: Path, fingerprint: str) -> None:
        self.kind, self.folder, self.fingerprint = kind, folder, fingerprint
        self.names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"--cache {folder}: expected a folder that can be written; {error.strerror}") from error

    def get(self, path: Path, make: Callable[[Path], T]) -> T:
        place = self.folder / f"{self._key(path)}.safetensors"
        if place.is_file():
            try:
                kept = load_file(place)
                return self.kind(*(kept[name] for name in self.names))
            except (OSError, KeyError, SafetensorError):  # damaged: make it anew
                place.unlink(missing_ok=True)
        made = make(path)
        with atomic_path(place) as partial:
            save_file({name: np.ascontiguousarray(getattr(made, name)) for name in self.names}, partial)
        return made

    def _key(self, path: Path) -> str:
        digest = hashlib.blake2b(self.fingerprint.encode(), digest_size=16)
        try:
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise SyncLipError(f"{path}: cannot be read; {error.strerror}") from error
        return digest.hexdigest()


class CachedProvider:
    """A provider whose parts are kept."""

    def __init__(self, provider: TokenProvider, folder: Path) -> None:
        self.provider, self.kept = provider, PartsCache(ClipParts, folder, provider.fingerprint)
        self.name, self.fingerprint, self.views = provider.name, provider.fingerprint, provider.views

    def parts(self, path: Path) -> ClipParts:
        return self.kept.get(path, self.provider.parts)

    def audio_tokens(self, waveform: np.ndarray) -> list[np.ndarray]:
        return self.provider.audio_tokens(waveform)

    def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
        return self.provider.vocal_tokens(frames, valid)
