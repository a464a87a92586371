"""`python -m train.offsets --data SHARDS --checkpoint FILE`: estimate each unchecked video's own offset, write it down.

Web video often carries a constant offset of a few frames. Training removes it (sampling.cut) instead of learning it,
and leaves out videos whose offset never becomes clear. The estimate pools all samples of a video.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.metrics.distance import best_lag, curve_confidence, distance_curve
from train.data.shards import decode_sample, read_shard, write_shard
from train.pretrain.validation import clip_tokens, without_ends


def estimate(folder: Path, checkpoint: Path | None) -> dict[str, tuple[int, float]]:
    """File -> (offset in frames, confidence) of videos whose sync is not trusted; shards are rewritten in place.

    Raises SyncLipError where there are no shards."""
    model = load_checkpoint(checkpoint).model
    reach = max(model.config.reach())
    curves: dict[str, list[np.ndarray]] = defaultdict(list)
    lengths: dict[str, list[int]] = defaultdict(list)
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise SyncLipError(f"{folder}: no shards (*.tar) here; write them with python -m train.prepare")
    for path in tqdm(paths, desc="offsets", unit="shard"):
        for key, parts in read_shard(path):
            meta = json.loads(parts["json"])
            if meta["sync"] == "trusted":
                continue
            clip = decode_sample(key, parts)
            audio, vocal = clip_tokens(model, clip)
            curve = distance_curve(audio, vocal, valid=without_ends(clip.valid, reach))
            if np.isfinite(curve).all():
                curves[meta["file"]].append(curve)
                lengths[meta["file"]].append(len(clip))
    found: dict[str, tuple[int, float]] = {}
    for file, own in curves.items():
        curve = np.average(own, axis=0, weights=lengths[file])
        found[file] = (best_lag(curve) or 0, float(curve_confidence(curve)))
    for path in paths:
        samples = dict(read_shard(path))
        for parts in samples.values():
            meta = json.loads(parts["json"])
            if meta["sync"] != "trusted":
                meta["offset"], meta["offset_confidence"] = found.get(meta["file"], (0, 0.0))
                parts["json"] = json.dumps(meta, sort_keys=True).encode()
        write_shard(path, samples)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.offsets", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder of shards")
    parser.add_argument("--checkpoint", type=Path, help="a trained checkpoint; default: the bundled one")
    options = parser.parse_args(arguments)
    try:
        found = estimate(options.data, options.checkpoint)
    except SyncLipError as error:
        print(f"offsets: {error}", file=sys.stderr)
        return 4
    rows = {file: {"offset": o, "confidence": round(c, 3)} for file, (o, c) in sorted(found.items())}
    print(json.dumps(rows, indent=1))
    return 0
