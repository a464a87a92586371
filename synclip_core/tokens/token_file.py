"""Token streams in a file: safetensors, one row a frame at 25 fps. Written by `synclip tokens` and by Save Tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ..errors import SyncLipError
from ..files.atomic import atomic_path
from ..files.safetensors_file import read_arrays

FORMAT = "synclip-tokens-1"
STREAMS = ("audio", "vocal", "identity", "ambient")
MASKS = {stream: "speech" if stream == "audio" else "valid" for stream in STREAMS}  # where a stream counts


@dataclass(frozen=True)
class TokenFile:
    """arrays: STREAMS float32 [T, dim] as far as the file has them, `speech` and `valid` bool [T], and what else is in
    it; model: sha256 of the checkpoint that made the tokens; faces: face tracks seen in the video."""

    arrays: dict[str, np.ndarray]
    model: str
    faces: int


def write_tokens(path: str | Path, arrays: Mapping[str, np.ndarray], model: str, faces: int) -> None:
    """See TokenFile. Raises SyncLipError where the file cannot be written; nothing half-written stays."""
    metadata = {"format": FORMAT, "fps": "25", "model": model, "faces": str(faces)}
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_tokens(path: str | Path) -> TokenFile:
    """Raises SyncLipError where the file is none of write_tokens, is damaged, or holds NaN."""
    arrays, header = read_arrays(path, "tokens of Save Tokens or of `synclip tokens`")
    if header.get("format") != FORMAT:
        raise SyncLipError(f"{path}: holds no tokens; expected a file of Save Tokens or of `synclip tokens`")
    streams = [name for name in STREAMS if name in arrays]
    lengths = {len(arrays[name]) for name in (*streams, *MASKS.values()) if name in arrays}
    sound = all(arrays[name].ndim == 2 and np.isfinite(arrays[name]).all() for name in streams)
    masked = all(MASKS[name] in arrays for name in streams)
    if not streams or len(lengths) != 1 or not sound or not masked:
        raise SyncLipError(f"{path}: its streams are damaged or do not fit each other; write it again")
    faces = header.get("faces", "0")
    return TokenFile(arrays, header.get("model", ""), int(faces) if faces.isdigit() else 0)
