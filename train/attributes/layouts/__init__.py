"""How published data sets lie on disk, one adapter a file: `read(folder, ...) -> Dataset`."""

from collections.abc import Callable
from pathlib import Path

from ..dataset import Dataset
from . import celebvhq, cremad, mead, ravdess

FOLDERS: dict[str, Callable[[Path], Dataset]] = {
    "celebvhq": celebvhq.read,
    "ravdess": ravdess.read,
    "cremad": cremad.read,
    "mead": mead.read,
}
