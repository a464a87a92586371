"""The table of `score --csv`."""

from collections.abc import Sequence

from ...files.table import write_rows
from ...sync.report import JSON_KEYS, ScoreReport

LISTS = ("windows", "stretches", "tracks", "still")
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
