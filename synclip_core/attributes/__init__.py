"""What a face does, from its motion tokens: heads, their files, and the report of a clip."""

from typing import Any

__all__ = ["AttributeReport", "classify"]


def __getattr__(name: str) -> Any:
    """Lazy, so that a module of this package can be had without numpy's whole weight."""
    if name in __all__:
        from . import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
