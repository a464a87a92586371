"""CSV files, `score --csv` among them, written whole or not at all."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..report import JSON_KEYS, ScoreReport
from .atomic import atomic_path

COLUMNS = [key for key in JSON_KEYS if key != "windows"] + ["words"]


def write_csv(path: str, reports: Sequence[ScoreReport]) -> None:
    """The reports; empty cells where there is no value. Raises SyncLipError."""
    write_rows(path, COLUMNS, ({**report.to_json(), "words": report.words} for report in reports))


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """UTF-8, RFC 4180, a header line; what is in no column is left out. Raises SyncLipError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
