"""`synclip render`: a manifest of jobs through a ComfyUI workflow, on one or more servers."""

import argparse
import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING

from .shared import exit_codes, inputs, table
from .shared.options import not_negative
from .shared.progress import bar, say

if TYPE_CHECKING:
    from ..render.batch import Batch

_SERVER = "http://127.0.0.1:8188"

_COLUMNS = """\
The manifest is a CSV file, a row a job. A column fills the input that its name says:
  Sync Score.max_lag     an input of the node with this title
  2.max_lag              an input of the node with this id
  max_lag                an input that only one node has
  video, audio, image    the file of the only Load Video, Load Audio, Load Image, or of the one
                         that takes the place of Demo Video
  id                     names the row and its folder (default: 0001, 0002, ...)
A folder instead of a manifest: a row for each video in and below it, named as the file is.
Files are given by path from the manifest's folder, and uploaded. An empty cell leaves the workflow's value.

OUTDIR gets a folder a row, results.csv and journal.jsonl. After an interruption the same command goes on where it
stopped: rows that are done stay, rows that failed are tried again, what the servers still have is collected."""


def seconds(text: str) -> float:
    """argparse type: a finite number of seconds, 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return number


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "render",
        help="run a ComfyUI workflow over a table of jobs, on one or more servers",
        description="Runs a ComfyUI workflow (API format) for every row of a manifest and collects what it makes.\n\n"
        + _COLUMNS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=exit_codes.RENDER_HELP,
    )
    parser.add_argument("--workflow", required=True, metavar="FILE.json", help="from ComfyUI's File > Export (API)")
    parser.add_argument(
        "--manifest", required=True, metavar="FILE.csv", help="the jobs, or a folder of videos: a row each"
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help=f"a ComfyUI; give several to share the rows (default: {_SERVER})",
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUTDIR", help="where results go")
    parser.add_argument(
        "--upload", action="append", default=[], metavar="COLUMN", help="this column, too, holds files to upload"
    )
    parser.add_argument(
        "--retries",
        type=not_negative,
        default=2,
        metavar="N",
        help="more tries of a row when memory ran out or its server was lost; other errors are final (default: 2)",
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        default=120.0,
        metavar="S",
        help="seconds to wait for a lost server before its rows go to another one (default: 120)",
    )
    parser.add_argument("--replace", action="store_true", help="run rows anew that are done with other values or files")
    parser.add_argument("--dry-run", action="store_true", help="check all, show what would be sent, queue nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..render.manifest import read_folder, read_manifest
    from ..render.run import render
    from ..render.server.transport import check_url
    from ..render.server.workflow import load_workflow

    servers = [check_url(url) for url in args.server or [_SERVER]]
    out = Path(args.out)
    workflow = load_workflow(args.workflow)
    if Path(args.manifest).is_dir():
        rows = read_folder(args.manifest, inputs.videos_of(args.manifest), workflow)
    else:
        rows = read_manifest(args.manifest, workflow, args.upload)
    if args.dry_run:
        from ..render.dry_run import dry_run

        text, code = asyncio.run(dry_run(workflow, rows, servers, out, args.replace))
        table.write(text)
        return code
    with bar("render", "row") as progress:

        def show(batch: "Batch") -> None:
            doing = [f"{lane.url.split('//')[1]}: {lane.now}" for lane in batch.lanes if lane.now]
            progress(batch.total - len(batch.rows), batch.total, ", ".join(doing))

        options = {"retries": args.retries, "patience": args.patience, "replace": args.replace}
        try:
            counts = asyncio.run(render(workflow, rows, servers, out, **options, say=say, show=show))
        except KeyboardInterrupt:
            say("\nThe servers keep what is queued. Run the same command again to go on from here.")
            raise
    table.write(_summary(counts, out))
    return exit_codes.IN_SYNC if counts["done"] == len(rows) else exit_codes.ERROR


def _summary(counts: dict[str, int], out: Path) -> str:
    parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    rows = sum(counts.values())
    return f"{rows} {'row' if rows == 1 else 'rows'}: {parts}. Table: {out / 'results.csv'}"
