"""`python -m train.compact --data SHARDS --out SHARDS`: the same samples at a fifth of the size, to be carried.

What is lost is what web video has lost already: the pictures are compressed again (--crf), the sound becomes Opus. For
measuring keep the shards of train.prepare.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from synclip_core.errors import SyncLipError
from train.data.shards import compact_sample, decode_sample, read_shard, write_shard


def compact(data: Path, out: Path, crf: int, opus_bits: int) -> int:
    """Writes every shard of `data` that `out` lacks; returns the bytes in `out`. Raises SyncLipError without shards."""
    paths = sorted(data.glob("*.tar"))
    if not paths:
        raise SyncLipError(f"{data}: no shards (*.tar) here; write them with python -m train.prepare")
    out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(paths, desc="compact", unit="shard"):
        if not (out / path.name).exists():
            clips = (decode_sample(key, parts) for key, parts in read_shard(path))
            write_shard(out / path.name, {clip.key: compact_sample(clip, crf, opus_bits) for clip in clips})
    return sum(path.stat().st_size for path in out.glob("*.tar"))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.compact", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder of shards")
    parser.add_argument("--out", required=True, type=Path, help="folder for the small ones")
    parser.add_argument("--crf", type=int, default=24, help="of H.264 (default: 24)")
    parser.add_argument("--opus", type=int, default=24000, help="bits a second of sound (default: 24000)")
    options = parser.parse_args(arguments)
    try:
        size = compact(options.data, options.out, options.crf, options.opus)
    except SyncLipError as error:
        print(f"compact: {error}", file=sys.stderr)
        return 4
    print(f"{size / 1e6:.1f} MB")
    return 0
