"""`synclip score --out`: a row a file, appended as it is known, in memory that does not grow with their number."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...errors import SyncLipError
from ...sync.report import ScoreReport
from ..shared import exit_codes, table
from ..shared.each_file import answer
from ..shared.scoring import scorer
from .row_files import open_rows, rows_there
from .workers import results


def score_to_rows(args: argparse.Namespace, files: Sequence[str | SyncLipError]) -> int:
    """Scores what has no row in args.out yet, on args.jobs processes. Returns the exit code of all rows.

    Raises SyncLipError where the file is there and args.resume is not given, or cannot be written."""
    out = Path(args.out)
    if out.exists() and not args.resume:
        raise SyncLipError(f"{out}: is there already; --resume goes on with it, or choose another name")
    verdicts: Counter[str] = Counter()
    there: set[str] = set()
    for file, verdict in rows_there(out):
        there.add(file)
        verdicts[verdict] += 1
    left = [file for file in files if _name(file) not in there]
    with closing(open_rows(out)) as rows, closing(reports(args, left)) as found, bar(len(files), left) as line:
        for report in found:
            rows.add(report)
            verdicts[report.verdict] += 1
            line.update()
    table.write(f"{table.summary(verdicts)}; rows in {out}", sys.stderr)
    return exit_codes.of_verdicts(verdicts)


def score_all(args: argparse.Namespace, files: Sequence[str | SyncLipError]) -> list[ScoreReport]:
    """A report for every file, in their order, made by args.jobs processes."""
    by_name = {}
    with closing(reports(args, files)) as found, bar(len(files), files) as line:
        for report in found:
            by_name[report.file] = report
            line.update()
    return [by_name[_name(file)] for file in files]


def bar(total: int, left: Sequence[object]) -> "tqdm[Any]":
    """Files done, rate and time left, on stderr; none where nobody watches."""
    done = total - len(left)
    return tqdm(desc="score", unit="file", total=total, initial=done, disable=None, dynamic_ncols=True)


def reports(args: argparse.Namespace, files: Sequence[str | SyncLipError]) -> Generator[ScoreReport, None, None]:
    """The report of each file as it comes, made by args.jobs processes; that of a file whose process died says so."""
    for file in files:
        if isinstance(file, SyncLipError):
            yield ScoreReport.failed(_name(file), file)
    scored = [file for file in files if isinstance(file, str)]
    jobs = min(args.jobs, max(1, len(scored)))
    ours = argparse.Namespace(**{**vars(args), "run": None, "threads": args.threads or threads_of(jobs)})
    with closing(results(partial(quiet_scorer, ours), scored, jobs)) as found:
        for file, report, ending in found:
            yield report if ending is None else ScoreReport.failed(file, f"{file}: {ending}")


def threads_of(jobs: int) -> int:
    """The share of the cores that one of so many processes has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // jobs)


def quiet_scorer(args: argparse.Namespace) -> Callable[[str], ScoreReport]:
    """In a worker: file -> report, whatever the file does."""
    sys.stdout = sys.stderr  # what a library prints is no row
    score = scorer(args)
    return lambda file: answer(file, score, ScoreReport.failed)


def _name(file: str | SyncLipError) -> str:
    return getattr(file, "file", "") if isinstance(file, SyncLipError) else file
