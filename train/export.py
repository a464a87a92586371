"""`python -m train.export --run DIR --out FILE.safetensors [--thresholds REPORT.json]`: a run's weights, ready to ship.

Half precision, with the run's record and, once `train.evaluate thresholds` has measured them, the thresholds of the
verdict.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from train.evaluate import read_thresholds


def export(run: Path, out: Path, thresholds: Path | None, licence: str) -> None:
    """Raises SyncLipError where the run has no model.safetensors or the report no thresholds."""
    loaded = load_checkpoint(run / "model.safetensors")
    metadata = {**loaded.metadata, "licence": licence}
    if thresholds:
        metadata["thresholds"] = read_thresholds(thresholds).to_dict()
    save_checkpoint(out, loaded.model, metadata, torch.float16)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.export", description=__doc__)
    parser.add_argument("--run", required=True, type=Path, help="folder of train.pretrain")
    parser.add_argument("--out", required=True, type=Path, help="checkpoint to write (.safetensors)")
    parser.add_argument("--thresholds", type=Path, help="JSON that `train.evaluate thresholds --out` wrote")
    parser.add_argument("--licence", default="Apache-2.0")
    options = parser.parse_args(arguments)
    try:
        export(options.run, options.out, options.thresholds, options.licence)
    except SyncLipError as error:
        print(f"export: {error}", file=sys.stderr)
        return 4
    print(json.dumps({"out": str(options.out), "bytes": options.out.stat().st_size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
