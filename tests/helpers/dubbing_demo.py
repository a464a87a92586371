"""A dubbing demo for tests: small, random, and driven by its tokens all the same."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from synclip_core import demo
from synclip_core.checkpoint import load_checkpoint
from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig
from synclip_core.dubbing.audiopack_file import AudioPackFile, save_audiopack
from synclip_core.dubbing.face import MARGIN
from synclip_core.dubbing.linear_vae import fit, save_linear_vae
from synclip_core.files.safetensors_file import save_safetensors
from synclip_core.media.video import iter_frames
from train.dubbing.config import DubbingConfig, TransformerConfig
from train.dubbing.wan.layouts import to_comfy
from train.dubbing.wan.transformers import open_transformer

SIZE = 64


def write_demo(folder: Path) -> None:
    """A dubbing demo that never learned, but whose AudioPack acts."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = open_transformer(DubbingConfig(transformer=TransformerConfig(heads=1, layers=2, vace_layers=1, ffn=64)))
    save_safetensors(folder / "transformer.safetensors", to_comfy(model.state_dict()), {})
    frames = [frame.image for frame, _ in zip(iter_frames(demo.CLIP), range(17), strict=False)]
    clip = torch.from_numpy(np.stack(frames)).float() / 255
    save_linear_vae(folder / "vae.safetensors", fit([clip[:, : clip.shape[1] // 8 * 8, : clip.shape[2] // 8 * 8]]), {})
    checkpoint = load_checkpoint()
    pack = AudioPack(AudioPackConfig(128, checkpoint.model.config.dim, checkpoint.model.config.profile, hidden=16))
    nn.init.normal_(pack.project.weight, std=0.3)
    crop = {"crop": {"size": SIZE, "margin": MARGIN}}
    save_audiopack(folder / "audiopack.safetensors", AudioPackFile(pack, checkpoint.sha256, crop))
