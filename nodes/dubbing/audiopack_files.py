"""AudioPacks in ComfyUI's model folders: models/synclip/audiopacks, and models/model_patches, where others lie too."""

import os
from functools import lru_cache
from pathlib import Path

import folder_paths

from ...synclip_core.dubbing.audiopack_file import holds_audiopack
from ...synclip_core.errors import SyncLipError
from ..shared.model_files import AUDIOPACKS, FOLDER, files

PATCHES = "model_patches"
NONE = "(no AudioPack in models/model_patches or models/synclip/audiopacks)"


def names() -> list[str]:
    """What a combo offers. Files of models/synclip come first."""
    patches = [name for name in _listed(PATCHES) if _is_audiopack(PATCHES, name)]
    return list(dict.fromkeys([*files(AUDIOPACKS), *patches])) or [NONE]


def path(name: str) -> Path:
    """The file behind a listed name. Raises SyncLipError where there is none."""
    for folder, found in ((FOLDER, files(AUDIOPACKS)), (PATCHES, _listed(PATCHES))):
        if name in found:
            return Path(folder_paths.get_full_path_or_raise(folder, name))
    if name == NONE:
        raise SyncLipError(
            "no AudioPack was found: put its .safetensors file into ComfyUI's models/model_patches or "
            "models/synclip/audiopacks and press R (train/finetune_dubbing.py makes one)"
        )
    raise SyncLipError(f"file={name!r}: is not there; choose one from the list (press R to read the folders again)")


def _listed(folder: str) -> list[str]:
    return [name for name in folder_paths.get_filename_list(folder) if name.endswith(".safetensors")]


def _is_audiopack(folder: str, name: str) -> bool:
    found = folder_paths.get_full_path(folder, name)
    if found is None:  # gone since it was listed
        return False
    stat = os.stat(found)
    return _holds_audiopack(found, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _holds_audiopack(found: str, _time: int, _size: int) -> bool:
    """Remembered while the file is the same: the page asks for every list when it opens."""
    return holds_audiopack(found)
