"""What a run hands on: an AudioPack, and the transformer that learned with it, in the layout of ComfyUI."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synclip_core.audiopack_file import AudioPackFile, load_audiopack, save_audiopack
from synclip_core.checkpoint import save_safetensors
from synclip_core.vace import Codec
from train.dubbing.codecs import open_codec
from train.dubbing.config import DubbingConfig
from train.dubbing.dubber import Dubber
from train.dubbing.layouts import to_comfy
from train.dubbing.transformers import open_transformer

PACK, WHOLE, DELTA = "audiopack.safetensors", "transformer.safetensors", "vace_delta.safetensors"


def export(out: Path, dubber: Dubber, config: DubbingConfig, model: str, metadata: dict[str, Any]) -> None:
    """OUT/audiopack.safetensors, and of the transformer all of it where all of it learned, else the differences, which
    ComfyUI's LoraLoaderModelOnly adds to the original. model: sha256 of the SyncLipMAE."""
    save_audiopack(out / PACK, AudioPackFile(dubber.pack, model, metadata))
    learned = to_comfy({k: v.detach().cpu().float() for k, v in dubber.transformer.state_dict().items()})
    if config.trained == "all":
        save_safetensors(out / WHOLE, {k: v.contiguous() for k, v in learned.items()}, {})
        return
    original = to_comfy(open_transformer(config).state_dict())
    changed = {k: v - original[k].float() for k, v in learned.items() if not torch.equal(v, original[k].float())}
    save_safetensors(out / DELTA, {_patch(k): v.half().contiguous() for k, v in changed.items()}, {})


def _patch(name: str) -> str:
    """ComfyUI's name of a difference that is added to a weight (comfy/lora.py)."""
    return f"diffusion_model.{name.removesuffix('.weight')}.diff"


@dataclass
class Trained:
    """A run's export, to dub with in PyTorch. file: of the AudioPack."""

    dubber: Dubber
    codec: Codec
    file: AudioPackFile

    @property
    def size(self) -> int:
        return int(self.file.metadata["crop"]["size"])

    @property
    def margin(self) -> float:
        return float(self.file.metadata["crop"]["margin"])


def load_trained(folder: Path, vae: str, device: str = "cpu") -> Trained:
    """From the folder of a run that began at random. Raises SyncLipError where a file is missing or damaged."""
    file = load_audiopack(folder / PACK)
    dubber = Dubber(open_transformer(DubbingConfig(transformer_path=str(folder / WHOLE))), file.network)
    codec = open_codec(vae)
    if isinstance(codec, torch.nn.Module):
        codec.to(device)
    return Trained(dubber.eval().requires_grad_(False).to(device), codec, file)
