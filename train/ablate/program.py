"""`python -m train.ablate --data runs/data --out runs/ablation`: the paper's Table 6 at the scale at hand.

Every variant is trained from the same config with each seed and judged on whole samples of the validation and the test
split. Runs that are done are not done again, one that was killed goes on, and the tables and curves are written anew
after each: the command may be stopped and started, or started on several machines with different `--only`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from synclip_core.checkpoint import load_checkpoint
from synclip_core.device import usable
from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import save_png
from train.ablate.report import FIGURES, curves, draw_curves, table
from train.ablate.variants import VARIANTS, variant_config
from train.data.sampling import ClipStore
from train.evaluate.tables import format_table, write_json
from train.pretrain.config import PretrainConfig, load_config
from train.pretrain.program import pretrain
from train.pretrain.validation import validate

CHANCE = 100 * 3 / 31  # of Acc: three of 31 lags are within a frame
EVERY = 10**9  # judge all samples


def run_variant(base: PretrainConfig, name: str, seed: int, shards: str, out: Path, device: str) -> None:
    """Train and judge one cell of the grid into out/result.json, unless that is done."""
    config = variant_config(base, VARIANTS[name], seed)
    pretrain(config, out, shards, device)
    model = load_checkpoint(out / "model.safetensors").model.to(device)
    stores = {split: ClipStore(shards, split, 1.0) for split in ("val", "test")}
    write_json(out / "result.json", {"variant": name, "seed": seed, "figures": validate(model, stores, EVERY)})


def report(out: Path) -> dict[str, Any]:
    """Tables and curves of what is done, written to `out`; returns the tables by group of clips."""
    folders = {name: sorted(p.parent for p in (out / name).glob("seed-*/result.json")) for name in VARIANTS}
    folders = {name: runs for name, runs in folders.items() if runs}
    if not folders:
        return {}
    results = {name: [json.loads((run / "result.json").read_text()) for run in runs] for name, runs in folders.items()}
    groups = list(next(iter(results.values()))[0]["figures"])
    tables = {group: table(results, group) for group in groups}
    write_json(out / "report.json", {"tables": tables, "results": results})
    for group in (g for g in groups if g.startswith("val/")):
        drawn = curves(folders, group, "acc@1")
        picture = draw_curves(drawn, f"Acc@1 on {group} clips while training, all seeds", CHANCE)
        save_png(picture, out / f"curves-{group.replace('/', '-')}.png")
    return tables


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.ablate", description=__doc__)
    parser.add_argument("--config", default="train/configs/ablation.yaml", help="the config that variants change")
    parser.add_argument("--data", help="shards; overrides data.shards of the config")
    parser.add_argument("--out", default="runs/ablation", type=Path)
    parser.add_argument("--seeds", default=[0, 1], type=int, nargs="+")
    parser.add_argument("--only", choices=list(VARIANTS), nargs="+", help="these variants alone")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="train nothing: tables and curves of what is done")
    options = parser.parse_args(arguments)
    try:
        base = load_config(options.config)
        usable(options.device)
        for seed in [] if options.report else options.seeds:
            for name in options.only or VARIANTS:
                folder = options.out / name / f"seed-{seed}"
                if not (folder / "result.json").exists():
                    shards = options.data or base.data.shards
                    run_variant(base, name, seed, shards, folder, options.device)
                    report(options.out)
        tables = report(options.out)
    except SyncLipError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("ablate: stopped; the same command goes on", file=sys.stderr)
        return 130
    for group, rows in tables.items():
        columns = ["variant", "seeds", *(c for f in FIGURES for c in (f, f"paper {f}"))]
        print(format_table(group, [{c: row[c] for c in columns} for row in rows]) + "\n")
    return 0
