"""What `synclip score` does with a file, wherever it is scored: here, or in a process of its own."""

import argparse
from collections.abc import Callable

from ...sync.report import ScoreReport
from .options import make_pipeline


def scorer(args: argparse.Namespace) -> Callable[..., ScoreReport]:
    """score(file, progress=None) by the options of the command, with one pipeline for all files."""
    from ...sync.still import check_still

    pipeline = None

    def score(file: str, progress: Callable[..., None] | None = None) -> ScoreReport:
        nonlocal pipeline
        pipeline = pipeline or make_pipeline(args)  # once, and only when there is a file to look at
        report = pipeline.score(file, progress=progress, **({"audio": args.audio} if args.audio else {}))
        report.file = file
        check_still(report, args.still)
        return report

    return score
