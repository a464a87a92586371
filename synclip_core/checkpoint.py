"""Checkpoints: one safetensors file with config, thresholds and provenance in its metadata. Nothing pickled."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import SyncLipError
from .files.safetensors_file import read_safetensors, save_safetensors
from .files.settings import from_dict, to_dict
from .models.config import SyncLipMAEConfig
from .models.synclipmae import SyncLipMAE
from .sync.along.evidence import Evidence, bundled_evidence, read_evidence
from .sync.verdict import SyncThresholds

FORMAT = "synclipmae-1"
BUNDLED = Path(__file__).parent / "weights" / "synclip_tiny.safetensors"


@dataclass
class Checkpoint:
    """A loaded model and what its file says about it."""

    model: SyncLipMAE
    metadata: dict[str, Any]
    sha256: str
    path: Path | None = None

    @property
    def thresholds(self) -> SyncThresholds:
        """Of the verdict, measured for these weights; defaults where the file names none."""
        return SyncThresholds.from_dict(self.metadata.get("thresholds", {}))

    @property
    def evidence(self) -> Evidence:
        """Of the timeline, fitted for these weights: from the header, from NAME.evidence.json beside the file, or the
        bundled checkpoint's, whose contrasts other checkpoints of this kind come near to."""
        if "evidence" in self.metadata:
            return Evidence.from_dict(self.metadata["evidence"])
        beside = None if self.path is None else self.path.with_suffix(".evidence.json")
        return read_evidence(beside) if beside is not None and beside.is_file() else bundled_evidence()


def save_checkpoint(
    path: str | Path, model: SyncLipMAE, metadata: dict[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write the model's weights and config; `metadata` is plain JSON data (thresholds, training record, licence).

    dtype: floating-point weights are stored in it (torch.float16 halves the file). The file appears only when it is
    whole.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if dtype is not None:
        state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}
    header = {"format": FORMAT, "config": json.dumps(to_dict(model.config)), "metadata": json.dumps(metadata)}
    save_safetensors(path, state, header)


def load_checkpoint(path: str | Path | None = None, *, ops: Any = nn) -> Checkpoint:
    """Load a SyncLipMAE checkpoint; None: the bundled one. The model comes in eval mode, float32, on the CPU.

    Raises SyncLipError when the file is missing, is no safetensors file, or holds another model.
    """
    target = BUNDLED if path is None else Path(path)
    tensors, header = read_safetensors(target)
    config = from_dict(SyncLipMAEConfig, _config_of(target, header), f"{target}: config")
    model = SyncLipMAE(config, ops=ops)
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise SyncLipError(f"{target}: weights do not fit the config in the same file: {error}") from error
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return Checkpoint(model.eval(), json.loads(header.get("metadata", "{}")), digest, target)


def is_checkpoint(path: str | Path) -> bool:
    """Is it a file of ours? By its header alone."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return read_safetensors(path, header_only=True)[1].get("format") == FORMAT


def read_config_of(path: str | Path) -> dict[str, Any]:
    """The model's config in a SyncLipMAE checkpoint as plain data. Raises SyncLipError where it is none."""
    return _config_of(Path(path), read_safetensors(path, header_only=True)[1])


def _config_of(path: Path, header: dict[str, str]) -> dict[str, Any]:
    if header.get("format") != FORMAT or "config" not in header:
        raise SyncLipError(f"{path}: not a SyncLipMAE checkpoint (metadata 'format' is {header.get('format')!r})")
    config = json.loads(header["config"])
    if isinstance(config, dict) and isinstance(config.get("visual"), dict):
        config["visual"].setdefault("view", "mouth")  # of before there was a choice
    return config
