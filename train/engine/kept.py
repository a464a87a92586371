"""What is computed once and kept on disk is named by everything that makes it, so that nothing stale is read."""

import hashlib
from typing import Any

from torch import nn

from synclip_core.files.settings import to_dict
from synclip_core.models.synclipmae import SyncLipMAE
from train.data.sampling import ClipStore


def content_key(store: ClipStore, key: str, *made_with: Any) -> str:
    """16 hexadecimal digits that change with a sample's pictures, sound and record (its offset among it), and with what
    it is made with: plain data, or dataclasses of it."""
    digest = hashlib.blake2b(repr(made_with).encode(), digest_size=8)
    for name, data in sorted(store.samples[key].read().items()):
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def weights_key(module: nn.Module) -> str:
    """64 hexadecimal digits that change with a module's weights."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return found.hexdigest()


def prompts_key(model: SyncLipMAE) -> str:
    """16 hexadecimal digits of all of a model that its prompts depend on: two checkpoints whose ears or heads alone
    differ share what was kept."""
    made_by = f"{to_dict(model.config.visual)} {weights_key(model.visual)}"
    return hashlib.blake2b(made_by.encode(), digest_size=8).hexdigest()
