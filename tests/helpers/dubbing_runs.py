"""The smallest dubbing run: clips of noise, and a config that is through with them in seconds."""

from dataclasses import replace
from pathlib import Path

import torch
from noise_shards import noise_clip, write_noise

from synclip_core.dubbing.linear_vae import fit, save_linear_vae
from train.dubbing.config import DubbingConfig, DubDataConfig, PackConfig, TransformerConfig
from train.pretrain.config import OptimConfig

SIZE = 32
CONFIG = DubbingConfig(
    transformer=TransformerConfig(heads=1, layers=2, vace_layers=1, ffn=64, text_dim=16),
    pack=PackConfig(hidden=16, depth=1, kernel=3),
    data=DubDataConfig(size=SIZE, frames=5),
    clips=4,
    steps=6,
    warmup=1,
    validate_every=3,
    checkpoint_every=2,
    optim=OptimConfig(weight_decay=0.0, ema=0.9),
)


def write_data(folder: Path) -> Path:
    """Shards and a video code; returns the folder."""
    clips = [noise_clip(k) for k in range(3)] + [noise_clip(9, split="val")]
    write_noise(folder, clips)
    save_linear_vae(folder / "vae.safetensors", fit([torch.from_numpy(c.crops[:9, :32, :32]) / 255 for c in clips]), {})
    return folder


def on(data: Path, **more: object) -> DubbingConfig:
    """The config on a folder of `write_data`. more: settings that differ."""
    config = replace(CONFIG, vae=str(data / "vae.safetensors"), data=replace(CONFIG.data, shards=str(data)))
    return replace(config, **more)
