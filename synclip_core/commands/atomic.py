"""Files appear whole or not at all, also when the disk fills up or Ctrl-C comes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SyncLipError


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `target` (same suffix); moved into place on success, removed on any failure.

    Raises SyncLipError when the folder is missing or the file cannot be written.
    """
    target = Path(target)
    check_folder(target)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", suffix=target.suffix, dir=target.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        os.replace(temporary, target)
    except OSError as error:
        raise SyncLipError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_folder(target: str | os.PathLike[str]) -> None:
    """Raises SyncLipError when `target` is a folder or lies in one that does not exist."""
    target = Path(target)
    if not target.parent.is_dir():
        raise SyncLipError(f"{target}: the folder {target.parent} does not exist; make it first or choose another")
    if target.is_dir():
        raise SyncLipError(f"{target}: is a folder; give the name of a file to write")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
