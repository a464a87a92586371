"""CSV files, `score --csv` among them, written whole or not at all."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..report import JSON_KEYS, ScoreReport
from .atomic import atomic_path

LISTS = ("windows", "stretches", "tracks")
COLUMNS = [key for key in JSON_KEYS if key not in LISTS] + ["timeline"]


def write_csv(path: str, reports: Sequence[ScoreReport]) -> None:
    """The reports; empty cells where there is no value. Raises SyncLipError."""
    write_rows(path, COLUMNS, ({**report.to_json(), "timeline": timeline_cell(report)} for report in reports))


def timeline_cell(report: ScoreReport) -> str:
    """The stretches in one cell: "0.00-9.88 in_sync 0 ms; 9.88-20.00 audio_late -320 ms"."""
    parts = []
    for s in report.stretches:
        lag = "" if s["lag_ms"] is None else f" {s['lag_ms']} ms"
        end = "" if not s["drift_ms_per_s"] or s["lag_end_ms"] is None else f" to {s['lag_end_ms']} ms"
        parts.append(f"{s['start_s']:.2f}-{s['end_s']:.2f} {s['state']}{lag}{end}")
    return "; ".join(parts)


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """UTF-8, RFC 4180, a header line; what is in no column is left out. Raises SyncLipError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
