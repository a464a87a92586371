"""What is computed once and kept on disk is named by everything that makes it, so that nothing stale is read."""

import hashlib
from typing import Any

from train.data.sampling import ClipStore


def content_key(store: ClipStore, key: str, *made_with: Any) -> str:
    """16 hexadecimal digits that change with a sample's pictures, sound and record (its offset among it), and with what
    it is made with: plain data, or dataclasses of it."""
    digest = hashlib.blake2b(repr(made_with).encode(), digest_size=8)
    for name, data in sorted(store.samples[key].read().items()):
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
