"""SyncLipMAE: one model for lip sync, facial motion, lip reading and dubbing. Importing it loads nothing heavy.

The names of `__all__` are the public ones; every other module may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attributes.report import AttributeReport, classify
    from .checkpoint import Checkpoint, load_checkpoint
    from .errors import SyncLipError
    from .pipeline import SyncPipeline
    from .sync.align import write_aligned
    from .sync.report import ScoreReport
    from .tokens.streams import TokenStreams

__version__ = "0.1.0"

__all__ = [
    "AttributeReport",
    "Checkpoint",
    "ScoreReport",
    "SyncLipError",
    "SyncPipeline",
    "TokenStreams",
    "classify",
    "load_checkpoint",
    "write_aligned",
]

_PLACES = {
    "AttributeReport": "attributes.report",
    "Checkpoint": "checkpoint",
    "ScoreReport": "sync.report",
    "SyncLipError": "errors",
    "SyncPipeline": "pipeline",
    "TokenStreams": "tokens.streams",
    "classify": "attributes.report",
    "load_checkpoint": "checkpoint",
    "write_aligned": "sync.align",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value
