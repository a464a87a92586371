"""`synclip demo`: scores the bundled clip, breaks it on purpose, finds the break and repairs it. Keeps no files."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from ..demo import CLIP
from ..sync.report import ScoreReport
from .shared import exit_codes, table
from .shared.options import add_pipeline_options, make_pipeline
from .shared.progress import bar

INJECTED = (5, -7)  # frames at 25 fps, positive: audio early

NEXT = """\
Try it on your own:
  synclip score VIDEO.mp4                     is it in sync, and by how much is it off?
  synclip score VIDEO.mp4 --plot sync.png     where, as a picture
  synclip align VIDEO.mp4 -o FIXED.mp4        repair it; the picture is copied, not encoded again
  synclip score FOLDER --json                 many files, for scripts"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "demo",
        help="score the bundled clip, break it, find the break, repair it",
        description="Shows what the tool does on a clip that comes with it: a drawn head with a synthetic voice, whose "
        "true lag is known. Exit code 0 when every lag was found.",
        epilog=exit_codes.HELP,
    )
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..sync.align import write_aligned

    pipeline = make_pipeline(args)
    rows: list[tuple[str, int, ScoreReport]] = []
    with tempfile.TemporaryDirectory(prefix="synclip-demo-") as folder, contextlib.redirect_stdout(sys.stderr):

        def score(name: str, truth: int, clip: Path) -> ScoreReport:
            with bar(name) as progress:
                report = pipeline.score(str(clip), progress=progress)
            rows.append((name, truth, report))
            return report

        score("the clip as it is", 0, CLIP)
        for lag in INJECTED:
            broken = Path(folder) / f"shifted{lag:+d}.mp4"
            write_aligned(CLIP, broken, -lag)  # repairing a lag of -5 that is not there puts one of +5 in
            side = "early" if lag > 0 else "late"
            found = score(f"audio made {abs(lag) * 40} ms {side}", lag, broken)
        if found.lag_frames is not None:
            repaired = Path(folder) / "repaired.mp4"
            write_aligned(broken, repaired, found.lag_frames)
            score("the last one, repaired", 0, repaired)

    right = [report.lag_frames is not None and abs(report.lag_frames - truth) <= 1 for _, truth, report in rows]
    table.write(_render(rows, right))
    if all(right) and len(rows) == len(INJECTED) + 2:
        table.write("\nEvery lag was found, and the repair took.\n\n" + NEXT)
        return exit_codes.IN_SYNC
    table.write("\nNot every lag was found: this installation does not work as it should.", sys.stderr)
    return exit_codes.ERROR


def _render(rows: list[tuple[str, int, ScoreReport]], right: list[bool]) -> str:
    head = ("clip", "true lag", "found", "in words", "score", "")
    cells = [
        (name, f"{truth:+d} f" if truth else "0 f", table.lag_text(report), report.words,
         "-" if report.score is None else f"{report.score:.3f}", "ok" if ok else "WRONG")
        for (name, truth, report), ok in zip(rows, right, strict=True)
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *cells]]
    lines.insert(1, "─" * len(lines[0].rstrip()))
    return "\n".join(line.rstrip() for line in lines)
