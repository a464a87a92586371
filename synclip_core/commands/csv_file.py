"""`score --csv`: a row a file, written whole or not at all."""

import csv
from collections.abc import Sequence

from ..report import JSON_KEYS, ScoreReport
from .atomic import atomic_path

COLUMNS = [key for key in JSON_KEYS if key != "windows"] + ["words"]


def write_csv(path: str, reports: Sequence[ScoreReport]) -> None:
    """UTF-8, RFC 4180, a header line; empty cells where there is no value. Raises SyncLipError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        rows.writeheader()
        rows.writerows({**report.to_json(), "words": report.words} for report in reports)
