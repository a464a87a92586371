"""`python -m train.plan --config train/configs/base.yaml --gpus 8 --gpu h100`: what a pretraining run will cost.

Parameters, FLOPs, memory by ZeRO stage, time, network and scaling, worked out from the config alone; `--measure` runs a
few real steps on random data and holds them against the plan.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from synclip_core.errors import SyncLipError
from train.plan.hardware import GPUS
from train.plan.measure import measure
from train.plan.plan import Plan
from train.plan.states import ZERO_STAGES
from train.plan.text import measured_text, plan_text
from train.pretrain.config import PretrainConfig, load_config


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.plan", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="YAML, for example train/configs/base.yaml")
    parser.add_argument("--gpus", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--gpu", choices=GPUS, default="h100", help="which (default: h100)")
    parser.add_argument("--zero", type=int, choices=ZERO_STAGES, default=0, help="stage of ZeRO (default: 0)")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the GPU's peak that is reached (default: 0.4)")
    parser.add_argument("--clips", type=int, help="clips on each GPU; overrides that of every stage")
    parser.add_argument("--json", action="store_true", help="print JSON: bytes, FLOPs, seconds")
    parser.add_argument("--measure", action="store_true", help="run real steps on this machine instead")
    parser.add_argument("--steps", type=int, default=5, help="real steps that --measure times (default: 5)")
    parser.add_argument("--stage", type=int, help="stage that --measure runs, from 0 (default: the last)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of --measure")
    return parser


def checked(options: argparse.Namespace) -> PretrainConfig:
    """The config with the options' changes. Raises SyncLipError for a number that makes no sense."""
    for name in ("gpus", "clips", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SyncLipError(f"--{name} {value}: expected a whole number from 1")
    if not 0 < options.mfu <= 1:
        raise SyncLipError(f"--mfu {options.mfu}: expected a share of the peak between 0 and 1, such as 0.4")
    config = load_config(options.config)
    if options.stage is not None and not 0 <= options.stage < len(config.stages):
        raise SyncLipError(f"--stage {options.stage}: {options.config} has the stages 0 to {len(config.stages) - 1}")
    if options.clips:
        config = replace(config, stages=tuple(replace(stage, clips=options.clips) for stage in config.stages))
    return config


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        config = checked(options)
        if options.measure:
            stage = len(config.stages) - 1 if options.stage is None else options.stage
            report = measure(config, stage, options.device, options.steps)
            text = measured_text(report)
        else:
            report = Plan(config, options.gpus, GPUS[options.gpu], options.zero, options.mfu).report()
            text = plan_text(report)
    except torch.cuda.OutOfMemoryError:
        print("plan: the GPU's memory is too small for this batch; take fewer --clips", file=sys.stderr)
        return 4
    except SyncLipError as error:
        print(f"plan: {error}", file=sys.stderr)
        return 4
    print(json.dumps(report, indent=1) if options.json else text)
    return 0
