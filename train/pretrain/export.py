"""`python -m train.export --run DIR --out FILE.safetensors [--thresholds REPORT.json]`: a run's weights, ready to ship.

Half precision, with the run's record and, once `train.evaluate thresholds` has measured them, the thresholds of the
verdict. A frozen speech encoder is most of such a file: `--without-ears` leaves it out, to bring weights home from
elsewhere, and `python -m train.export --join FILE --ears EARS.safetensors --out WHOLE.safetensors` puts it back.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from train.evaluate.program import read_thresholds

EARS = "front_end."  # of the names of a frozen speech encoder's tensors


def without_ears(path: Path) -> None:
    """Writes a checkpoint anew without its speech encoder."""
    tensors, header = read_safetensors(path)
    save_safetensors(path, {name: t for name, t in tensors.items() if not name.startswith(EARS)}, header)


def join(path: Path, ears: Path, out: Path) -> None:
    """The inverse: ears is the file that `init.audio` named. Raises SyncLipError where the two are no whole model."""
    tensors, header = read_safetensors(path)
    heard = {EARS + name: tensor for name, tensor in read_safetensors(ears)[0].items()}
    save_safetensors(out, tensors | heard, header)
    load_checkpoint(out)


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
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--run", type=Path, help="folder of train.pretrain")
    given.add_argument("--join", type=Path, metavar="FILE", help="a file of --without-ears, to be made whole")
    parser.add_argument("--ears", type=Path, help="the speech encoder for --join")
    parser.add_argument("--without-ears", action="store_true", help="leave the frozen speech encoder out")
    parser.add_argument("--out", required=True, type=Path, help="checkpoint to write (.safetensors)")
    parser.add_argument("--thresholds", type=Path, help="JSON that `train.evaluate thresholds --out` wrote")
    parser.add_argument("--licence", default="Apache-2.0")
    options = parser.parse_args(arguments)
    try:
        if options.join:
            if options.ears is None:
                raise SyncLipError("--join needs --ears, the file that init.audio of the run's config named")
            join(options.join, options.ears, options.out)
        else:
            export(options.run, options.out, options.thresholds, options.licence)
            if options.without_ears:
                without_ears(options.out)
    except SyncLipError as error:
        print(f"export: {error}", file=sys.stderr)
        return 4
    print(json.dumps({"out": str(options.out), "bytes": options.out.stat().st_size}))
    return 0
