"""Training samples of noise, and the smallest model that learns from them."""

from pathlib import Path

import numpy as np

from train.data.clip import Clip
from train.data.shards import encode_sample, write_shard

VISUAL = {"image_size": [32, 32], "width": 16, "depth": 1, "heads": 2, "stem": "conv", "stem_widths": [8, 8, 8]}
SETTINGS = {
    "seed": 3,
    "model": {
        "name": "test",
        "dim": 16,
        "visual": VISUAL,
        "audio": {"width": 80, "depth": 4},
        "vocal": {"center": True},
        "context": {"depth": 1, "width": 16},
        "decoder": {"width": 16, "depth": 1, "heads": 2},
        "geometry_points": 60,
    },
    "stages": [
        {"learn": "vision", "steps": 3, "warmup": 1, "clips": 4, "frames": 1},
        {"learn": "alignment", "steps": 3, "warmup": 1, "clips": 3, "frames": 12},
        {"learn": "all", "steps": 4, "warmup": 1, "clips": 2, "frames": 12, "reconstruct": 2},
    ],
    "validate_every": 100,
    "checkpoint_every": 1,
}  # fmt: skip


def noise_clip(index: int, split: str = "train", **meta: object) -> Clip:
    rng = np.random.default_rng(index)
    length = 60
    # landmarks of a face that fills the square as faces do, a little different in each frame
    points = rng.random((length, 98, 2), dtype=np.float32) * 0.6 + 0.2
    return Clip(
        f"clip{index}",
        rng.integers(0, 255, (length, 48, 48, 3), dtype=np.uint8),
        rng.random((length, 60, 2), dtype=np.float32),
        np.ones(length, bool),
        rng.normal(0, 0.1, length * 640).astype(np.float32),
        1 / 14,
        {"split": split, "sync": "trusted", "subject": f"s{index}", "source": "noise", **meta},
        landmarks=points,
    )


def write_noise(folder: Path, clips: list[Clip]) -> Path:
    """One shard of these clips; returns the folder."""
    write_shard(folder / "all.tar", {c.key: encode_sample(c) for c in clips})
    return folder
