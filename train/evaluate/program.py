"""Every number that we report, one subcommand a family of tables: `python -m train.evaluate sync --data DIR --split
test`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import save_png
from synclip_core.files.table import write_rows
from synclip_core.pipeline import SyncPipeline
from synclip_core.reading.reader_file import load_reader
from synclip_core.sync.verdict import SyncThresholds

from ..data.texts import LAYOUTS
from .attributes_report import attributes_text, evaluate_attributes
from .factors_report import evaluate_factors, factors_text
from .sync.cache import CachedProvider
from .sync.evidence.program import evidence_text, fit_evidence
from .sync.mochabench import clip_rows, evaluate_mochabench, mochabench_text
from .sync.mochabench_picture import draw_scatter
from .sync.provider import PipelineProvider, TokenProvider
from .sync.report import evaluate_sync, sync_text
from .sync.thresholds import fit_thresholds, thresholds_text
from .tables import write_json

MakeProvider = Callable[[Path | None, str], TokenProvider]


def read_thresholds(path: Path) -> SyncThresholds:
    """From a report of `thresholds`, or a bare object of the same names. SyncLipError where it is neither."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SyncLipError(
            f"--thresholds {path}: expected a JSON report of `train.evaluate thresholds`; {error}"
        ) from error
    values = values.get("thresholds", values) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        raise SyncLipError(f"--thresholds {path}: expected a JSON object of thresholds")
    return SyncThresholds.from_dict(values)


def run_sync(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    limits = read_thresholds(args.thresholds) if args.thresholds else None
    report = evaluate_sync(
        args.data,
        args.split,
        _provider(args),
        seed=args.seed,
        draws=args.draws,
        exclude=args.exclude,
        thresholds=limits,
    )
    return report, sync_text(report)


def run_evidence(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    pipeline = SyncPipeline(args.checkpoint, device=args.device)
    report = fit_evidence(
        pipeline, args.data, args.split, args.report, cache=args.cache, seed=args.seed, draws=args.draws
    )
    return report, evidence_text(report)


def run_thresholds(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    report = fit_thresholds(
        args.data,
        args.split,
        _provider(args),
        seed=args.seed,
        draws=args.draws,
        false_claims=args.false_claims,
        exclude=args.exclude,
    )
    return report, thresholds_text(report)


def run_mochabench(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    provider = _provider(args)
    report, done = evaluate_mochabench(args.data, provider)
    if args.csv:
        write_rows(args.csv, *clip_rows(provider.views, done))
    if args.picture:
        save_png(draw_scatter(provider.views[-1], len(provider.views) - 1, done), args.picture)
    return report, mochabench_text(report)


def run_vsr(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from .reading_report import evaluate_vsr, read_texts, vsr_text  # needs jiwer, which the others do not

    reader = load_reader(args.reader)
    options = replace(reader.search, **({"beam": args.beam} if args.beam else {}))
    texts = read_texts(args.data, args.texts, args.layout)
    pipeline = SyncPipeline(args.checkpoint, device=args.device)
    report = evaluate_vsr(args.data, args.split, pipeline, reader, texts, options)
    return report, vsr_text(report)


def run_attributes(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    report = evaluate_attributes(
        args.data,
        args.split,
        args.head,
        args.cache,
        checkpoint=args.checkpoint,
        device=args.device,
        exclude=args.exclude,
        seed=args.seed,
    )
    return report, attributes_text(report)


def run_factors(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    report = evaluate_factors(
        args.data, args.split, args.cache, checkpoint=args.checkpoint, device=args.device, exclude=args.exclude
    )
    if args.shards and args.pictures:
        from synclip_core.checkpoint import load_checkpoint

        from ..data.sampling import ClipStore
        from ..pretrain.samples import draw_swaps

        swaps = draw_swaps(load_checkpoint(args.checkpoint).model, ClipStore(args.shards, args.split, 1.0), 6)
        save_png(swaps, args.pictures)
    return report, factors_text(report)


def run_dubbing(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from ..dubbing.export import load_trained  # needs diffusers, which the others do not
    from .dubbing.judge import Judge
    from .dubbing.pairs import Options
    from .dubbing.report import evaluate_dubbing
    from .dubbing.table import dubbing_text
    from .dubbing.words import open_words

    vae = str(args.vae or args.model / "vae.safetensors")
    trained = load_trained(args.model, vae, args.transformer or "", args.device)
    driver = SyncPipeline(args.checkpoint, device=args.device)
    judges = [Judge(f"{path.parent.name}/{path.stem}", SyncPipeline(path, device=args.device)) for path in args.judge]
    eye = Judge("the driver itself", driver)
    words = open_words(eye, args.data, args.reader, args.texts, args.layout)
    if args.videos:
        args.videos.mkdir(parents=True, exist_ok=True)
    options = Options(args.clips, args.longest, args.steps, args.guidance, args.seed, args.videos)
    with tempfile.TemporaryDirectory() as work:
        report = evaluate_dubbing(args.data, args.split, trained, driver, judges or [eye], words, options, Path(work))
    return report, dubbing_text(report)


def _provider(args: argparse.Namespace) -> TokenProvider:
    provider = args.make_provider(args.checkpoint, args.device)
    return CachedProvider(provider, args.cache) if args.cache else provider


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, help="folder with clips.csv and the clips")
    common.add_argument("--checkpoint", type=Path, help="weights to judge; the bundled ones if not given")
    common.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    common.add_argument("--out", type=Path, help="write the report here as JSON")
    common.add_argument("--seed", type=int, default=0, help="of every draw (default: 0)")
    common.add_argument("--draws", type=_positive, default=4, help="random shifts a clip and length (default: 4)")
    common.add_argument("--cache", type=Path, help="folder that keeps tokens between runs")
    common.add_argument("--exclude", type=Path, help="CSV with columns file, reason: clips to leave out")
    sync = commands.add_parser("sync", parents=[common], help="lag, retrieval, detection and verdicts on a split")
    sync.add_argument("--split", default="test", help="of clips.csv (default: test)")
    sync.add_argument("--thresholds", type=Path, help="JSON of `thresholds`; the checkpoint's own if not given")
    sync.set_defaults(run=run_sync)
    fit = commands.add_parser("thresholds", parents=[common], help="set the verdict's thresholds on a validation split")
    fit.add_argument("--split", default="val", help="of clips.csv (default: val)")
    fit.add_argument(
        "--false-claims", type=float, default=0.05, help="share of foreign audio given a lag (default: 0.05)"
    )
    fit.set_defaults(run=run_thresholds)
    proof = commands.add_parser("evidence", parents=[common], help="fit what the timeline knows of a checkpoint")
    proof.add_argument("--split", default="val", help="of clips.csv, to fit on (default: val)")
    proof.add_argument("--report", default="test", help="split for the tables; '' for none (default: test)")
    proof.set_defaults(run=run_evidence, draws=8)
    moch = commands.add_parser(
        "mochabench", parents=[common], help="generated clips beside SyncNet's published figures"
    )
    moch.add_argument("--csv", type=Path, help="write a row a clip here")
    moch.add_argument("--picture", type=Path, help="PNG: confidence against LSE-C, lag against SyncNet's offset")
    moch.set_defaults(run=run_mochabench)
    reading = argparse.ArgumentParser(add_help=False)
    reading.add_argument("--reader", type=Path, help="lip reader; the bundled one if not given")
    reading.add_argument("--texts", type=Path, help="what is said; GRID's alignments in DATA if not given")
    reading.add_argument("--layout", choices=LAYOUTS, default="csv", help="of --texts (default: csv)")
    vsr = commands.add_parser("vsr", parents=[common, reading], help="word and character errors of a lip reader")
    vsr.add_argument("--split", default="test", help="of clips.csv (default: test)")
    vsr.add_argument("--beam", type=_positive, help="texts followed at once; the reader's own number if not given")
    vsr.set_defaults(run=run_vsr)
    attributes = commands.add_parser("attributes", parents=[common], help="an attribute head on a split")
    attributes.add_argument("--split", default="test", help="of clips.csv (default: test)")
    attributes.add_argument("--head", type=Path, help="attribute head (.safetensors); the bundled one if not given")
    attributes.set_defaults(run=run_attributes)
    factors = commands.add_parser("factors", parents=[common], help="what each of the three tokens holds")
    factors.add_argument("--split", default="test", help="of clips.csv (default: test)")
    factors.add_argument("--shards", type=Path, help="of train.prepare, for --pictures")
    factors.add_argument("--pictures", type=Path, help="PNG: faces restored with one token of another clip")
    factors.set_defaults(run=run_factors)
    dubbing = commands.add_parser(
        "dubbing", parents=[common, reading], help="clips dubbed to other clips' voices and mouths"
    )
    dubbing.add_argument("--split", default="test", help="of clips.csv (default: test)")
    dubbing.add_argument("--model", type=Path, required=True, help="OUT folder of train.finetune_dubbing")
    dubbing.add_argument("--transformer", help="the published Wan VACE weights that MODEL was fine-tuned from, if any")
    dubbing.add_argument("--vae", help="video VAE; MODEL/vae.safetensors if not given")
    dubbing.add_argument(
        "--judge", type=Path, action="append", default=[], help="SyncLipMAE weights that took no part; may be repeated"
    )
    dubbing.add_argument("--clips", type=_positive, default=10, help="of each subset (default: 10)")
    dubbing.add_argument("--longest", type=float, default=12.0, help="seconds of a clip (default: 12)")
    dubbing.add_argument("--steps", type=_positive, default=12, help="of sampling (default: 12)")
    dubbing.add_argument("--guidance", type=float, default=1.0, help="audio guidance (default: 1, off)")
    dubbing.add_argument("--videos", type=Path, help="folder for the results and a contact sheet")
    dubbing.set_defaults(run=run_dubbing)
    return parser


def main(argv: Sequence[str] | None = None, make_provider: MakeProvider = PipelineProvider) -> int:
    """Exit status: 0, or 2 for what the user can mend, or 1 when no clip could be used."""
    args = build_parser().parse_args(argv)
    args.make_provider = make_provider
    try:
        report, text = args.run(args)
        print(text)
        if args.out:
            write_json(args.out, report)
    except SyncLipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if any(report["clips"].values()) else 1
