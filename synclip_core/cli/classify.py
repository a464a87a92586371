"""`synclip classify`: what the face does over time - speaks, opens the mouth, turns - or what another head knows."""

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..clock import FPS
from ..errors import SyncLipError
from ..files.atomic import check_folder
from ..files.table import write_rows
from .shared import exit_codes, table
from .shared.each_file import each_file
from .shared.inputs import expand
from .shared.options import add_pipeline_options, make_pipeline

if TYPE_CHECKING:
    from ..attributes.report import AttributeReport

FRAMES = (0, 16, 80)  # attributes.FRAMES, spelled out: that module brings numpy, and --help is to be quick


def share(text: str) -> float:
    """argparse type: a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "classify",
        help="what the face does: speaking, mouth open, head turned, or what another head was trained on",
        description="Says of each video what its face does, from the picture alone, with a linear head on motion "
        "tokens.",
        epilog=exit_codes.CLASSIFY_HELP,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="videos, folders (searched through) or patterns")
    parser.add_argument("--json", action="store_true", help="one JSON array on stdout, an object per file")
    parser.add_argument("--csv", metavar="FILE", help="also write a table, a row per file")
    parser.add_argument(
        "--over-time", metavar="FILE", help="also write all probabilities as CSV, a row a frame at 25 fps"
    )
    parser.add_argument("--head", metavar="FILE", help="an attribute head (.safetensors) instead of the bundled one")
    parser.add_argument(
        "--frames",
        type=int,
        choices=FRAMES,
        default=0,
        help="frames that make a clip's probabilities, spread evenly; 0: all (default)",
    )
    parser.add_argument(
        "--threshold",
        type=share,
        metavar="P",
        help="probability from which a label holds, instead of the head's own (labels that exclude each other: the "
        "likeliest)",
    )
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    files = expand(args.files)
    for out in (args.csv, args.over_time):
        if out:
            check_folder(out)  # before the work, not after it
    # Whatever a library prints must not end up between the brackets of --json.
    with contextlib.redirect_stdout(sys.stderr):
        reports = classify_files(args, files)
    if args.json:
        print(json.dumps([report.to_json() for report in reports], allow_nan=False))
    else:
        table.write(render(reports))
    if args.csv:
        write_summary(args.csv, reports)
    if args.over_time:
        write_over_time(args.over_time, reports)
    return max((_code(report) for report in reports), default=exit_codes.IN_SYNC)


def classify_files(args: argparse.Namespace, files: list[str | SyncLipError]) -> "list[AttributeReport]":
    """A report for every entry of `expand`, in order; what a file does wrong stays in its own report.

    Raises SyncLipError where the head itself cannot be used: no file would get an answer.
    """
    from ..attributes.head_file import load_head, require_match
    from ..attributes.report import AttributeReport

    head = load_head(args.head)
    pipeline = make_pipeline(args)
    require_match(head, pipeline.checkpoint.sha256, pipeline.model.config.dim)

    def classify(file: str, progress: Callable[..., None]) -> AttributeReport:
        report = pipeline.classify(file, head, progress, frames=args.frames, threshold=args.threshold)
        report.file = file
        return report

    return each_file(files, classify, AttributeReport.failed)


def render(reports: "Sequence[AttributeReport]", width: int | None = None) -> str:
    """A line a file, then what went wrong or needs care in full sentences."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    name = max(12, min(max(len(report.file) for report in reports), width // 3))
    lines = [f"{'file'.ljust(name)}  {'length':>8}  {'face':>5}  what the face does", "─" * width]
    for report in reports:
        length = "-" if report.duration_s is None else f"{report.duration_s:.1f} s"
        face = "-" if report.face_share is None else f"{100 * report.face_share:.0f} %"
        lines.append(f"{table.shorten(report.file, name).ljust(name)}  {length:>8}  {face:>5}  {report.words}")
    notes = [
        report.error if report.error.startswith(report.file) else f"{report.file}: {report.error}"
        for report in reports
        if report.error
    ]
    notes += [f"{report.file}: {warning}" for report in reports for warning in report.warnings]
    return "\n".join(lines + ([""] + notes if notes else []))


def write_summary(path: str, reports: "Sequence[AttributeReport]") -> None:
    """A row a file; of each label its clip probability and the share of time. Raises SyncLipError."""
    names = list(dict.fromkeys(label.label for report in reports for label in report.labels))
    columns = ["file", "words", "duration_s", "face_share", "faces", "error"]
    columns += [f"{name}_{what}" for name in names for what in ("probability", "share")]
    rows = []
    for report in reports:
        row = report.to_json()
        for label in row["labels"]:
            row |= {f"{label['label']}_{what}": label[what] for what in ("probability", "share")}
        rows.append(row)
    write_rows(path, columns, rows)


def write_over_time(path: str, reports: "Sequence[AttributeReport]") -> None:
    """A row a frame: file, time, the probability of each label; empty where there is no face. Raises SyncLipError."""
    names = list(dict.fromkeys(label.label for report in reports for label in report.labels))
    rows = (
        {"file": report.file, "time_s": f"{tick / FPS:.2f}"}
        | {
            label.label: "" if value != value else f"{value:.4f}"  # NaN alone differs from itself
            for label, value in zip(report.labels, frame, strict=True)
        }
        for report in reports
        for tick, frame in enumerate(report.probabilities.tolist())
    )
    write_rows(path, ["file", "time_s", *names], rows)


def _code(report: "AttributeReport") -> int:
    if report.error:
        return exit_codes.ERROR
    return exit_codes.IN_SYNC if report.seen else exit_codes.CANNOT_TELL
