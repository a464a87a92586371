"""What a run hands on: an AudioPack, and the transformer that learned with it, in the layout of ComfyUI."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synclip_core.dubbing.audiopack_file import AudioPackFile, load_audiopack, save_audiopack
from synclip_core.dubbing.vace import Codec
from synclip_core.files.safetensors_file import save_safetensors
from train.dubbing.config import DubbingConfig
from train.dubbing.dubber import Dubber
from train.dubbing.wan.codecs import open_codec
from train.dubbing.wan.layouts import to_comfy
from train.dubbing.wan.patches import apply_patch, differences, low_rank
from train.dubbing.wan.transformers import open_prompt, open_transformer

PACK, WHOLE = "audiopack.safetensors", "transformer.safetensors"
PROMPT = "prompt.safetensors"  # the text that it learned with, if it did
PATCHES = {"vace": "vace_delta.safetensors", "lora": "vace_lora.safetensors"}  # by what was trained


def export(out: Path, dubber: Dubber, config: DubbingConfig, model: str, metadata: dict[str, Any]) -> None:
    """OUT/audiopack.safetensors, and of the transformer all of it where all of it learned, else what changed, which
    ComfyUI's LoraLoaderModelOnly adds to the original. model: sha256 of the SyncLipMAE."""
    save_audiopack(out / PACK, AudioPackFile(dubber.pack, model, metadata))
    learned = {k: v.detach().cpu().float() for k, v in dubber.transformer.state_dict().items()}
    if config.prompt:
        save_safetensors(out / PROMPT, {"prompt": dubber.prompt.cpu()}, {})
    if config.trained == "all":
        save_safetensors(out / WHOLE, {k: v.contiguous() for k, v in to_comfy(learned).items()}, {})
        return
    if config.trained == "lora":
        patch = low_rank(learned)
    else:
        patch = differences(open_transformer(config).state_dict(), learned)
    save_safetensors(out / PATCHES[config.trained], patch, {})


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


def load_trained(folder: Path, vae: str, transformer: str = "", device: str = "cpu") -> Trained:
    """transformer: the published weights that a run began with, in either layout; empty where all of it learned. Raises
    SyncLipError where a file is missing or damaged."""
    file = load_audiopack(folder / PACK)
    model = open_transformer(DubbingConfig(transformer_path=transformer or str(folder / WHOLE)))
    for name in PATCHES.values() if transformer else ():
        if (folder / name).is_file():
            apply_patch(model, folder / name)
    text = folder / PROMPT
    dubber = Dubber(model, file.network, open_prompt(text, model.config.text_dim) if text.is_file() else None)
    codec = open_codec(vae)
    if isinstance(codec, torch.nn.Module):
        codec.to(device)
    return Trained(dubber.eval().requires_grad_(False).to(device), codec, file)
