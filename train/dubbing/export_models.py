"""`python -m train.export_dubbing --run DIR --out FOLDER`: a toy dubbing model, in half precision, ready to ship.

FOLDER is what *Load Dubbing Demo* reads: transformer, video code and AudioPack. The toy that comes with the package was
written by this program, to synclip_core/weights/dubbing/toy.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from synclip_core.dubbing.audiopack_file import load_audiopack, save_audiopack
from synclip_core.dubbing.linear_vae import load_linear_vae, save_linear_vae
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from train.dubbing.export import PACK, WHOLE

VAE = "vae.safetensors"


def export_dubbing(run: Path, vae: Path, out: Path, licence: str, refresh: int = 0) -> None:
    """refresh: see DubOptions. Raises SyncLipError where a file is missing or is none of these."""
    pack, code = load_audiopack(run / PACK), load_linear_vae(vae)
    weights, _ = read_safetensors(run / WHOLE)
    out.mkdir(parents=True, exist_ok=True)
    save_safetensors(out / WHOLE, {name: tensor.half() for name, tensor in weights.items()}, {"licence": licence})
    pack.metadata |= {"licence": licence, "refresh": refresh}
    save_audiopack(out / PACK, pack, torch.float16)
    save_linear_vae(out / VAE, code, {"licence": licence})


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.export_dubbing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, type=Path, help="folder of train.finetune_dubbing, `trained: all`")
    parser.add_argument("--vae", type=Path, help="file of train.fit_linear_vae; RUN/vae.safetensors if not given")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument(
        "--refresh",
        type=int,
        default=0,
        help="segments after which Dub Sampler begins anew without the continuity reference, where the model's own "
        "errors would build up (default: 0, never)",
    )
    options = parser.parse_args(arguments)
    try:
        export_dubbing(options.run, options.vae or options.run / VAE, options.out, options.licence, options.refresh)
    except SyncLipError as error:
        print(f"export_dubbing: {error}", file=sys.stderr)
        return 4
    print(json.dumps({file.name: file.stat().st_size for file in sorted(options.out.glob("*.safetensors"))}))
    return 0
