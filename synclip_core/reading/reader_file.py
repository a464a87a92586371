"""A lip reader as one safetensors file: weights, config, the checkpoint whose tokens it reads, and what it reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import SyncLipError
from ..files.safetensors_file import read_safetensors, save_safetensors
from ..files.settings import from_dict
from .beam import SearchOptions
from .network import LipReader, VsrConfig

FORMAT = "synclip-reader-1"
BUNDLED_READER = Path(__file__).parents[1] / "weights" / "reader_grid.safetensors"


@dataclass
class Reader:
    """A loaded lip reader.

    model: sha256 of the SyncLipMAE checkpoint whose vocal tokens it reads. metadata: plain JSON data, among it
    `reads` (the language or the commands, for people), `search` (SearchOptions) and `min_confidence`.
    """

    network: LipReader
    model: str
    metadata: dict[str, Any]

    @property
    def search(self) -> SearchOptions:
        return SearchOptions(**self.metadata.get("search", {}))

    @property
    def min_confidence(self) -> float:
        """Under it a reading is no better than a guess; measured on the validation split."""
        return float(self.metadata.get("min_confidence", 0.0))

    def check(self, model: str) -> None:
        """Raises SyncLipError where tokens come from another checkpoint than this reader learned from."""
        if model != self.model:
            raise SyncLipError(
                f"the lip reader was trained on the tokens of checkpoint {self.model[:12]}, these come from "
                f"{model[:12]}; use the checkpoint that it belongs to, or train a reader for this one "
                "(train/finetune_vsr.py)"
            )


def save_reader(path: str | Path, reader: Reader, dtype: torch.dtype = torch.float16) -> None:
    """Atomic; weights are stored in `dtype`. Raises SyncLipError where it cannot be written."""
    state = {name: t.detach().cpu().to(dtype).contiguous() for name, t in reader.network.state_dict().items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(asdict(reader.network.config)),
        "model": reader.model,
        "metadata": json.dumps(reader.metadata),
    }
    save_safetensors(path, state, header)


def load_reader(path: str | Path | None = None) -> Reader:
    """None: the bundled reader of the GRID commands. In eval mode, float32, on the CPU.

    Raises SyncLipError when the file is missing, is no safetensors file, or holds something else.
    """
    target = BUNDLED_READER if path is None else Path(path)
    tensors, header = read_safetensors(target)
    if header.get("format") != FORMAT:
        raise SyncLipError(f"{target}: holds no lip reader; expected a file of train/finetune_vsr.py")
    try:
        network = LipReader(from_dict(VsrConfig, json.loads(header["config"]), f"{target}: config"))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return Reader(network.eval(), header["model"], json.loads(header["metadata"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SyncLipError(f"{target}: a damaged lip reader ({error})") from error
