"""An AudioPack as one safetensors file that ComfyUI's own Wan VACE and diffusers' both take."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import SyncLipError
from ..files.safetensors_file import read_safetensors, save_safetensors
from ..files.settings import from_dict
from .audiopack import AudioPack, AudioPackConfig

FORMAT = "synclip-audiopack-1"


@dataclass
class AudioPackFile:
    """A loaded AudioPack. model: sha256 of the SyncLipMAE checkpoint whose tokens drive it; metadata: plain JSON data,
    among it `training`."""

    network: AudioPack
    model: str
    metadata: dict[str, Any]

    @property
    def refresh(self) -> int:
        """See dubbing.job.DubOptions."""
        return int(self.metadata.get("refresh", 0))

    def check(self, model: str, dim: int) -> None:
        """Raises SyncLipError where tokens are of another space than those that this AudioPack learned from."""
        config = self.network.config
        if model != self.model or dim != config.token_dim:
            raise SyncLipError(
                f"this AudioPack is driven by tokens of profile {config.profile} (checkpoint {self.model[:12]}, width "
                f"{config.token_dim}); these are of checkpoint {model[:12]}, width {dim}. Encode the sound or the "
                "performance with the checkpoint that it belongs to, or train an AudioPack for this one "
                "(train/finetune_dubbing.py)"
            )

    def check_width(self, width: int) -> None:
        """Raises SyncLipError where the video model has another width than the one it was trained in."""
        if width != self.network.config.width:
            raise SyncLipError(
                f"this AudioPack was trained for a video model of width {self.network.config.width}, this one has "
                f"{width} (Wan2.1-VACE-1.3B: 1536, 14B: 5120); load the AudioPack that belongs to the model"
            )


def save_audiopack(path: str | Path, file: AudioPackFile, dtype: torch.dtype = torch.float32) -> None:
    """Atomic. Raises SyncLipError where it cannot be written."""
    state = {name: t.detach().cpu().to(dtype).contiguous() for name, t in file.network.state_dict().items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(asdict(file.network.config)),
        "model": file.model,
        "metadata": json.dumps(file.metadata),
    }
    save_safetensors(path, state, header)


def holds_audiopack(path: str | Path) -> bool:
    """By the file's header alone; False for what cannot be read."""
    try:
        return read_safetensors(path, header_only=True)[1].get("format") == FORMAT
    except SyncLipError:
        return False


def load_audiopack(path: str | Path, *, ops: Any = nn) -> AudioPackFile:
    """In eval mode, float32, on the CPU.

    Raises SyncLipError when the file is missing, is no safetensors file, or holds something else.
    """
    tensors, header = read_safetensors(path)
    if header.get("format") != FORMAT:
        raise SyncLipError(f"{path}: holds no AudioPack; expected a file of train/finetune_dubbing.py")
    try:
        config = from_dict(AudioPackConfig, json.loads(header["config"]), f"{path}: config")
        network = AudioPack(config, ops=ops)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return AudioPackFile(network.eval(), header["model"], json.loads(header["metadata"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SyncLipError(f"{path}: a damaged AudioPack ({error})") from error
