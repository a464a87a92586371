"""Finished parts of a long job on disk, so that a job that was cut goes on where it stood."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import SyncLipError
from ..files.atomic import atomic_path
from .parts import Part


class PartStore:
    """A folder of its own for each set of inputs: with changed inputs nothing of the old job is taken."""

    def __init__(self, folder: Path, inputs: dict[str, Any]) -> None:
        """inputs: everything that decides the result, as JSON-able values."""
        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:20]
        self.folder = folder / digest
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"{self.folder}: this folder cannot be made ({error.strerror})") from error

    def load(self, part: Part) -> np.ndarray | None:
        """uint8 [frames, S, S, 3] as `save` got it; None where there is none, or it is damaged."""
        path = self._path(part)
        if not path.is_file():
            return None
        try:
            crops = load_file(path)["crops"]
        except (OSError, KeyError, SafetensorError):
            path.unlink(missing_ok=True)
            return None
        return crops if len(crops) == part.frames and crops.dtype == np.uint8 else None

    def save(self, part: Part, crops: np.ndarray) -> None:
        """Whole or not at all. Raises SyncLipError where it cannot be written."""
        with atomic_path(self._path(part)) as temporary:
            temporary.write_bytes(save({"crops": np.ascontiguousarray(crops)}))

    def clear(self) -> None:
        """The job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, part: Part) -> Path:
        return self.folder / f"{part.first:08d}-{part.frames}.safetensors"


def file_digest(path: str | Path) -> str:
    """sha256 of a file, for `inputs`. Raises SyncLipError."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SyncLipError(f"{path}: cannot be read ({error.strerror})") from error
