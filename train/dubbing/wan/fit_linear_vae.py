"""`python -m train.fit_linear_vae --data runs/data --out runs/dubbing/vae.safetensors`: the toy model's video code."""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.dubbing.linear_vae import LinearVae, fit, save_linear_vae
from synclip_core.errors import SyncLipError
from train.data.sampling import ClipStore
from train.dubbing.windows import resized

FRAMES = 17


def stretches(folder: Path, split: str, size: int, most: int) -> list[Tensor]:
    """The first 17 frames of up to `most` clips of each source, [17, size, size, 3] in 0..1."""
    store, taken, found = ClipStore(folder, split, 0.0), dict[str, int](), []
    for key in tqdm(sorted(store.meta), desc=f"clips, {split}", unit="clip", leave=False, disable=None):
        source = store.meta[key]["source"]
        if store.meta[key]["frames"] >= FRAMES and taken.get(source, 0) < most:
            taken[source] = taken.get(source, 0) + 1
            found.append(resized(torch.from_numpy(store[key].crops[:FRAMES]), size).float() / 255)
    return found


def psnr(vae: LinearVae, clips: list[Tensor]) -> float:
    """dB over all pixels of clips."""
    errors = [(vae.decode(vae.encode(clip[None]))[0] - clip).square().mean() for clip in clips]
    return float(-10 * torch.stack(errors).mean().log10())


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.fit_linear_vae", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="shards of train.prepare")
    parser.add_argument("--out", type=Path, default=Path("runs/dubbing/vae.safetensors"))
    parser.add_argument("--size", type=int, default=96, help="of a face crop, pixels")
    parser.add_argument("--most", type=int, default=24, help="clips of each source")
    options = parser.parse_args(arguments)
    try:
        train, val = (stretches(options.data, split, options.size, options.most) for split in ("train", "val"))
        vae = fit(train)
        record = {"clips": len(train), "val_clips": len(val), "val_psnr_db": round(psnr(vae, val), 2)}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save_linear_vae(options.out, vae, record)
    except SyncLipError as error:
        print(f"fit_linear_vae: {error}", file=sys.stderr)
        return 4
    print(json.dumps(record))
    return 0
