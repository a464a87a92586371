"""The documented place of `write_aligned` in version 0.1; its home is sync/align.py."""

from ...sync.align import write_aligned

__all__ = ["write_aligned"]
