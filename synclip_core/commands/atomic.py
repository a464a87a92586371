"""Files of the command line appear whole or not at all, also when the disk fills up or Ctrl-C comes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SyncLipError

if TYPE_CHECKING:
    from PIL import Image


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `target` (same suffix); moved into place on success, removed on any failure.

    Raises SyncLipError when the folder is missing or the file cannot be written.
    """
    from ..media.atomic import AtomicFile, write_error

    try:
        with AtomicFile(target) as file:
            yield file.temporary
    except OSError as error:
        raise write_error(target, error) from error


def save_png(image: "Image.Image", target: str | os.PathLike[str]) -> None:
    """Raises SyncLipError as atomic_path does."""
    with atomic_path(target) as temporary:
        image.save(temporary, "PNG")


def check_folder(target: str | os.PathLike[str]) -> None:
    """Raises SyncLipError, before the work starts, when `target` is a folder or lies in one that does not exist."""
    target = Path(target)
    if not target.parent.is_dir():
        raise SyncLipError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    if target.is_dir():
        raise SyncLipError(f"{target}: is a folder, expected the name of a file to write.")
