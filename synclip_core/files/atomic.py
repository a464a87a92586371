"""Writing a file whole or not at all: a temporary file beside the target, renamed at the end."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import SyncLipError, describe

if TYPE_CHECKING:
    from PIL import Image

PathLike = str | os.PathLike[str]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_error(path: PathLike, error: BaseException) -> SyncLipError:
    """The SyncLipError for a failed write to `path`."""
    code = getattr(error, "errno", None)
    if code in _FULL:
        return SyncLipError(f"{path}: could not be written, the disk is full (or a quota or size limit is reached).")
    if code in _DENIED:
        return SyncLipError(f"{path}: could not be written, its folder is read-only. Choose another folder.")
    return SyncLipError(f"{path}: could not be written ({describe(error)}).")


class AtomicFile:
    """A temporary file in the folder of `path` that becomes `path` on `commit`.

    As a context manager it commits on success and removes the temporary file on any exception, Ctrl-C included.
    An existing `path` stays as it was until the commit. Raises SyncLipError where the folder is missing or read-only.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        folder = self.path.parent
        if not folder.is_dir():
            raise SyncLipError(f"{self.path}: the folder {folder} does not exist. Make it first.")
        if self.path.is_dir():
            raise SyncLipError(f"{self.path}: is a folder, expected the name of a file to write.")
        try:
            handle, name = tempfile.mkstemp(prefix=".synclip-", suffix=self.path.suffix, dir=folder)
            os.close(handle)
        except OSError as error:
            raise write_error(self.path, error) from error
        self.temporary = Path(name)

    def commit(self) -> None:
        """Give the finished file its name."""
        try:
            # mkstemp makes private files; a result is readable as the user's umask says.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(self.temporary, 0o666 & ~mask)
            os.replace(self.temporary, self.path)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error

    def discard(self) -> None:
        """Remove the temporary file; does nothing after a commit."""
        self.temporary.unlink(missing_ok=True)

    def __enter__(self) -> "AtomicFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


@contextmanager
def atomic_path(target: PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `target` (same suffix); moved into place on success, removed on any failure.

    Raises SyncLipError when the folder is missing or the file cannot be written.
    """
    try:
        with AtomicFile(target) as file:
            yield file.temporary
    except OSError as error:
        raise write_error(target, error) from error


def save_png(image: "Image.Image", target: PathLike) -> None:
    """Raises SyncLipError as atomic_path does."""
    with atomic_path(target) as temporary:
        image.save(temporary, "PNG")


def check_folder(target: PathLike) -> None:
    """Raises SyncLipError, before the work starts, when `target` is a folder or lies in one that does not exist."""
    target = Path(target)
    if not target.parent.is_dir():
        raise SyncLipError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    if target.is_dir():
        raise SyncLipError(f"{target}: is a folder, expected the name of a file to write.")


def close_quietly(close: Callable[[], None]) -> None:
    """Close something that may fail because its writing has failed already."""
    try:
        close()
    except Exception:  # noqa: BLE001 - the first error is the one to report
        pass
