"""`python -m train.finetune_attributes --layout LAYOUT --data DATA --out DIR`: linear heads on frozen motion tokens.

Layouts: csv (DATA is a table: file, label columns), celebvhq, ravdess, cremad, mead (folders as published), derived (a
folder with clips.csv: labels of each frame from sound, word times and landmarks; the bundled head). DIR gets
attributes.safetensors, report.json, report.txt and a confusion picture a group. Features are kept in DIR/features, so
an interrupted run goes on.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from synclip_core.attributes.head_file import save_head
from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline

from ..evaluate.tables import write_json
from . import derived
from .dataset import SPLITS, Group, with_splits
from .features import FeatureCache
from .frames import frame_samples
from .layouts import FOLDERS, table
from .results.confusion_picture import save_confusion
from .results.figures import confusion_rows, probabilities
from .results.text import tables_text
from .samples import MOTION, Samples, clip_samples, weigh_ambient
from .training import fit_all, make_head, report_tables

FRAMES = (16, 80)  # section 5; the last is what the probes are compared at
KEEP_AUC = 0.9  # on val: a derived label that the tokens tell worse is not shipped

Tests = dict[str, Samples]


def labelled(args: argparse.Namespace, cache: FeatureCache) -> tuple[list[Group], Samples, Samples, Tests, dict]:
    """Groups, train, val, the test split once a way of sampling, and facts for the report. Clips are the examples."""
    data = table.read(args.data, args.labels) if args.layout == "csv" else FOLDERS[args.layout](args.data)
    items = with_splits(data.items, args.seed)
    refused = cache.fill([item.path for item in items])
    usable = [item for item in items if item.path not in refused]
    parts = {split: [item for item in usable if item.split == split] for split in SPLITS}
    train, val = (clip_samples(parts[split], data.groups, cache, 0) for split in ("train", "val"))
    tests = {f"{n} frames": clip_samples(parts["test"], data.groups, cache, n) for n in FRAMES}
    facts = {
        "data": data.name,
        "licence": data.licence,
        "subjects": {split: len({item.subject for item in part}) for split, part in parts.items()},
        "refused": {str(path): why for path, why in refused.items()},
    }
    return list(data.groups), train, val, tests, facts


def from_frames(args: argparse.Namespace, cache: FeatureCache) -> tuple[list[Group], Samples, Samples, Tests, dict]:
    """The same with derived labels, frames the examples."""
    train, val, test = (
        frame_samples(args.data, split, cache, args.limit if split == "train" else 0, exclude=args.exclude)
        for split in SPLITS
    )
    refused = {file: why for part in (train, val, test) for file, why in part.refused.items()}
    facts = {"data": args.data.name, "definitions": derived.DEFINITIONS, "refused": refused}
    return list(derived.GROUPS), train, val, {"frames": test}, facts


def finetune(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Fits, reports, writes. Returns the report and its text. Raises SyncLipError."""
    args.out.mkdir(parents=True, exist_ok=True)
    pipeline = SyncPipeline(args.checkpoint, device=args.device)
    cache = FeatureCache(pipeline, args.cache or args.out / "features")
    frames = args.layout == "derived"
    groups, train, val, tests, facts = (from_frames if frames else labelled)(args, cache)
    weight, fitted = fit_all(train, val, groups)
    for test in tests.values():
        weigh_ambient(test, weight)
    kept = [g for g in groups if not frames or fitted[g.name][MOTION].val_auc >= KEEP_AUC]
    if not kept:
        raise SyncLipError(f"no group reaches a macro AUC of {KEEP_AUC} on the validation split; no head was written")
    report = {
        "program": "train.finetune_attributes",
        "layout": args.layout,
        "seed": args.seed,
        "checkpoint": pipeline.checkpoint.sha256,
        "profile": pipeline.model.config.profile,
        **facts,
        "clips": {"train": train.clips, "val": val.clips, "test": list(tests.values())[-1].clips},
        "examples": {"train": len(train), "val": len(val), "test": len(list(tests.values())[-1])},
        "ambient_weight": weight,
        "kept": [group.name for group in kept],
        "dropped": [group.name for group in groups if group not in kept],
        "groups": report_tables(groups, fitted, train, tests),
    }
    record = {key: report[key] for key in ("layout", "seed", "data", "clips", "examples")}
    head = make_head(
        kept, fitted, "frame" if frames else "clip", report["checkpoint"], report["profile"], record, weight
    )
    save_head(args.out / "attributes.safetensors", head)
    text = _head_text(report) + "\n\n" + tables_text(report["groups"])
    write_json(args.out / "report.json", report)
    (args.out / "report.txt").write_text(text + "\n", encoding="utf-8")
    last = list(tests.values())[-1]
    for group in groups:
        fit = fitted[group.name][MOTION]
        p = probabilities(fit.linear(last.features[MOTION]), group, fit.temperature)
        counts = confusion_rows(p, last.truth[group.name], group, fit.thresholds)
        save_confusion(args.out / f"confusion-{group.name}.png", counts, group, f"{group.name}, test split")
    return report, text


def _head_text(report: dict[str, Any]) -> str:
    clips, examples = report["clips"], report["examples"]
    counts = ", ".join(f"{split} {clips[split]} clips ({examples[split]} examples)" for split in SPLITS)
    lines = [f"{report['data']}: {counts}; {len(report['refused'])} refused; seed {report['seed']}"]
    lines.append(f"weight of the ambient token, chosen on val: {report['ambient_weight']:g}")
    if report["dropped"]:
        lines.append(f"not in the head, AUC on val under {KEEP_AUC:g}: {', '.join(report['dropped'])}")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.finetune_attributes", description=__doc__)
    parser.add_argument("--layout", required=True, choices=["csv", *FOLDERS, "derived"])
    parser.add_argument("--data", required=True, type=Path, help="the data set's folder; csv: the table")
    parser.add_argument("--out", required=True, type=Path, help="folder for the head and its report")
    parser.add_argument("--labels", nargs="+", metavar="COLUMN", help="csv: the label columns (default: all others)")
    parser.add_argument("--checkpoint", type=Path, help="whose tokens; the bundled ones if not given")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--cache", type=Path, help="folder of features (default: OUT/features)")
    parser.add_argument("--seed", type=int, default=0, help="of the split by subject (default: 0)")
    parser.add_argument(
        "--limit", type=int, default=200, help="derived: training clips of the GRID speaker, 0 all (default: 200)"
    )
    parser.add_argument("--exclude", type=Path, help="derived: CSV with columns file, reason: clips to leave out")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 4 for what the user can mend."""
    args = build_parser().parse_args(arguments)
    try:
        report, text = finetune(args)
    except (SyncLipError, OSError) as error:
        print(f"finetune_attributes: {error}", file=sys.stderr)
        return 4
    print(text)
    head = args.out / "attributes.safetensors"
    print(json.dumps({"out": str(head), "bytes": head.stat().st_size, "groups": report["kept"]}))
    return 0
