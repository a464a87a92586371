"""Files of models/synclip: checkpoints in the folder itself, the others in folders below it."""

import os
from pathlib import Path

import folder_paths

FOLDER = "synclip"
READERS, HEADS, AUDIOPACKS = "readers", "heads", "audiopacks"
BUNDLED_NAME = "bundled"


def names(kind: str = "") -> list[str]:
    """What a combo offers. kind: "" for checkpoints, READERS or HEADS. The bundled file comes first."""
    return [BUNDLED_NAME, *files(kind)]


def files(kind: str) -> list[str]:
    """As `names`, without the bundled file; AUDIOPACKS too."""
    found = folder_paths.get_filename_list(FOLDER)
    return [name for name in found if name.endswith(".safetensors") and _kind(name) == kind]


def path(name: str) -> Path | None:
    """None for the bundled file. Only listed names pass validate_inputs, so the file lies in a models folder."""
    return None if name == BUNDLED_NAME else Path(folder_paths.get_full_path_or_raise(FOLDER, name))


def fingerprint(name: str, bundled: Path) -> tuple[int, int]:
    """Changes when the file does."""
    stat = os.stat(path(name) or bundled)
    return stat.st_mtime_ns, stat.st_size


def _kind(name: str) -> str:
    first = name.replace("\\", "/").split("/")[0]
    return first if first in (READERS, HEADS, AUDIOPACKS) else ""
