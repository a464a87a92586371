"""Files, folders and globs of the command line become a list of files."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import SyncLipError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .ogv .3gp .mxf .gif".split()
)


def expand(arguments: Sequence[str]) -> list[str | SyncLipError]:
    """Files in the order given, each once; a folder gives the videos in and below it, sorted.

    What leads to no file comes as a SyncLipError in its place (its `file` is the argument), so that one wrong name does
    not stop the others.
    """
    found: list[str | SyncLipError] = []
    for argument in arguments:
        if os.path.isdir(argument):
            found += _videos_below(argument) or [_missing(argument, "no video file in this folder or below it")]
        elif not os.path.exists(argument) and glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))
            files = [f for m in matches for f in (_videos_below(m) if os.path.isdir(m) else [m])]
            found += files or [_missing(argument, "nothing matches this pattern")]
        else:
            found.append(argument)
    return list(dict.fromkeys(found))


def videos_of(folder: str) -> list[str]:
    """The videos in and below a folder, sorted. Raises SyncLipError where there is none."""
    files = _videos_below(folder)
    if not files:
        raise _missing(folder, "no video file in this folder or below it")
    return files


def _videos_below(folder: str) -> list[str]:
    files = (
        os.path.join(root, name)
        for root, folders, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
    )
    return sorted(files)


def _missing(argument: str, why: str) -> SyncLipError:
    error = SyncLipError(f"{argument}: {why}")
    error.file = argument  # type: ignore[attr-defined]
    return error
