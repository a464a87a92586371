"""`python -m train.move_pack --pack OLD --own CHECKPOINT --to CHECKPOINT --data SHARDS --out NEW`: an AudioPack for
another checkpoint, without the video model.

An AudioPack belongs to the tokens that it learned from, and to train one takes the video model and its GPUs. What it
makes of a clip's tokens is all that the video model sees of it. So its copy learns to answer the new checkpoint's
tokens of the training clips as the old one answers the old tokens of the same clips; the projection rests.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.checkpoint import load_checkpoint
from synclip_core.dubbing.audiopack import AudioPack
from synclip_core.dubbing.audiopack_file import load_audiopack, save_audiopack
from synclip_core.errors import SyncLipError
from train.data.sampling import ClipStore
from train.dubbing.tokens import ClipTokens, load_tokens
from train.evaluate.ridge import r2, ridge

FRAMES = 48  # of a stretch that is learned from
STREAMS = (("audio", "heard"), ("vocal", "seen"))


class Pairs:
    """Both checkpoints' tokens of the same clips: [C, F, D] old and new, valid [C, F], of `FRAMES` at a time."""

    def __init__(self, old: dict[str, ClipTokens], new: dict[str, ClipTokens], stream: str, mask: str) -> None:
        cut: list[list[Tensor]] = [[], [], []]
        for key in sorted(old.keys() & new.keys()):
            valid = getattr(old[key], mask)
            for start in range(0, len(valid) - FRAMES + 1, FRAMES // 2):
                part = slice(start, start + FRAMES)
                cut[0].append(getattr(old[key], stream)[part].float())
                cut[1].append(getattr(new[key], stream)[part].float())
                cut[2].append(valid[part])
        if not cut[0]:
            raise SyncLipError(f"no clip of {FRAMES} frames and more to learn from")
        self.old, self.new, self.valid = (torch.stack(part) for part in cut)


def teach(
    pack: AudioPack, pairs: Sequence[Pairs], steps: int, seed: int, clips: int = 32, lr: float = 1e-3
) -> AudioPack:
    """A copy of `pack` that answers the new tokens of `pairs` as `pack` answers the old ones."""
    student = copy.deepcopy(pack).train()
    with torch.no_grad():  # the nearest linear answer is where it begins
        student.embed.weight.copy_(pack.embed.weight @ nearest(pairs))
    learned = [p for name, p in student.named_parameters() if not name.startswith("project.")]
    optimiser = torch.optim.AdamW(learned, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=max(steps, 2))
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(steps), desc="move_pack", unit="step", disable=None):
        total = torch.zeros(())
        for own in pairs:
            rows = torch.from_numpy(rng.integers(0, len(own.valid), clips))
            valid = own.valid[rows]
            with torch.no_grad():
                wanted = pack.encode(own.old[rows], valid)
            given = student.encode(own.new[rows], valid)
            total = total + (given - wanted)[valid].square().mean()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        schedule.step()
    return student.eval()


def nearest(pairs: Sequence[Pairs]) -> Tensor:
    """[D, D]: the matrix that takes new tokens nearest to the old ones of the same frames."""
    old, new = (torch.cat([getattr(own, name)[own.valid] for own in pairs]).numpy() for name in ("old", "new"))
    return torch.from_numpy(ridge(new, old, 1e-3 * float(np.square(new).sum(0).mean()))).float().T


@torch.inference_mode()
def explained(pack: AudioPack, student: AudioPack, pairs: Pairs) -> float:
    """Share of the variance along the clips of what the old pack gives that the new one gives too (R2)."""
    wanted, given = pack.pack(pack.encode(pairs.old, pairs.valid)), student.pack(student.encode(pairs.new, pairs.valid))
    return r2(given.flatten(0, 1).numpy(), wanted.flatten(0, 1).numpy())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.move_pack", description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="the AudioPack")
    parser.add_argument("--own", type=Path, required=True, help="the checkpoint that it belongs to")
    parser.add_argument("--to", type=Path, required=True, help="the checkpoint whose tokens shall drive it")
    parser.add_argument("--data", type=Path, required=True, help="shards of train.prepare: splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="the AudioPack to write")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the clips' tokens")
    parser.add_argument("--clips", type=int, default=400, help="training clips, evenly over the split (default: 400)")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    file = load_audiopack(args.pack)
    models = load_checkpoint(args.own), load_checkpoint(args.to)
    file.check(models[0].sha256, models[0].model.config.dim)
    if models[0].model.config.dim != models[1].model.config.dim:
        raise SyncLipError(f"{args.to}: its tokens have another width than the AudioPack was made for")
    read = {}
    for split, many in (("train", args.clips), ("val", 60)):
        store = ClipStore(args.data, split, 0.0)
        keys = sorted(store.meta)
        store.meta = {key: store.meta[key] for key in keys[:: max(1, len(keys) // many)]}
        old, new = (load_tokens(model, store, args.cache) for model in models)
        read[split] = [Pairs(old, new, *stream) for stream in STREAMS]
    student = teach(file.network, read["train"], args.steps, args.seed)
    kept = {
        name: round(explained(file.network, student, own), 3)
        for (name, _), own in zip(STREAMS, read["val"], strict=True)
    }
    record = {"from": models[0].sha256, "steps": args.steps, "seed": args.seed, "clips": args.clips, "r2": kept}
    metadata = {**file.metadata, "moved": record}
    config = replace(student.config, profile=models[1].model.config.profile)
    student.config = config
    save_audiopack(args.out, replace(file, network=student, model=models[1].sha256, metadata=metadata), torch.float16)
    print(f"{args.out}: answers as {args.pack} did, R2 on validation clips {kept}")
    return 0
