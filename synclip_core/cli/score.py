"""`synclip score`: is the mouth in sync with the voice, and by how much is it off."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from ..errors import SyncLipError
from ..files.atomic import check_folder
from ..sync.report import ScoreReport
from .shared import exit_codes, table
from .shared.csv_file import write_csv
from .shared.each_file import each_file, out_paths
from .shared.inputs import expand
from .shared.options import add_pipeline_options, positive, still_choice
from .shared.scoring import scorer


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "score",
        help="is the mouth in sync with the voice, by how much is it off, and where",
        description="Says of each video whether the mouth is in sync with the voice. Lags above 0: the audio is early.",
        epilog=exit_codes.HELP,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="videos, folders (searched through) or patterns")
    parser.add_argument("--json", action="store_true", help="one JSON array on stdout, an object per file")
    parser.add_argument("--csv", metavar="FILE", help="also write a table, a row per file")
    parser.add_argument("--plot", metavar="OUT.png", help="also draw each file; several files give OUT-NAME.png")
    parser.add_argument(
        "--audio",
        metavar="FILE",
        help="judge the sound of this file instead, from the first frame on (a voice without its music, a dub)",
    )
    parser.add_argument(
        "--still",
        action="append",
        default=[],
        type=still_choice,
        metavar="FACE",
        help="a face that should not talk, by a point X,Y on it in pixels, or others: every face but the judged one; "
        "may be given several times",
    )
    group = parser.add_argument_group("many files")
    group.add_argument("--jobs", type=positive, default=1, metavar="N", help="files at a time, each in its own process")
    group.add_argument(
        "--out",
        metavar="FILE",
        help="a row per file, appended as it is known, instead of the table: FILE.jsonl, FILE.csv, or FILE.parquet (a "
        "folder of parts, by pyarrow); a file that kills its process costs its own row alone",
    )
    group.add_argument("--resume", action="store_true", help="go on with --out: files that have a row are left out")
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.out:
        return _run_to_rows(args)
    if args.resume:
        raise SyncLipError("--resume goes on with the rows of --out FILE; give that too")
    files = expand(args.files)
    for out in (args.csv, args.plot):
        if out:
            check_folder(out)  # before the work, not after it
    # Whatever a library prints must not end up between the brackets of --json.
    with contextlib.redirect_stdout(sys.stderr):
        reports = score_files(args, files)
    if args.json:
        print(json.dumps([report.to_json() for report in reports], allow_nan=False))
    else:
        table.write(table.render(reports, colour=table.coloured(sys.stdout)))
        if len(reports) == 1 and reports[0].verdict.startswith("audio_") and not args.audio:
            target = Path(reports[0].file)
            table.write(f"\nTo repair it: synclip align {target} -o {target.stem}-aligned{target.suffix}")
    if args.csv:
        write_csv(args.csv, reports)
    if args.plot:
        _write_plots(args.plot, reports)
    return exit_codes.exit_code(reports)


def score_files(args: argparse.Namespace, files: list[str | SyncLipError]) -> list[ScoreReport]:
    """A report for every entry of `expand`, in order; what a file does wrong stays in its own report."""
    if args.jobs > 1:
        from .many.run import score_all

        return score_all(args, files)
    return each_file(files, scorer(args), ScoreReport.failed)


def _run_to_rows(args: argparse.Namespace) -> int:
    if args.json or args.csv or args.plot:
        raise SyncLipError("--out writes the rows as they come; --json, --csv and --plot are for runs without it")
    if not Path(args.out).is_dir():  # Parquet of a run before is a folder
        check_folder(args.out)
    from .many.run import score_to_rows

    with contextlib.redirect_stdout(sys.stderr):
        return score_to_rows(args, expand(args.files))


def _write_plots(plot: str, reports: list[ScoreReport]) -> None:
    from ..sync.plot import save_plot

    for report, path in zip(reports, out_paths(plot, ".png", [report.file for report in reports]), strict=True):
        save_plot(report, path)
        table.write(f"plot: {path}", sys.stderr)
