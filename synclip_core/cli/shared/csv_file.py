"""The table of `score --csv`."""

from collections.abc import Sequence

from ...files.table import write_rows
from ...sync.report import JSON_KEYS, ScoreReport

COLUMNS = [key for key in JSON_KEYS if key != "windows"] + ["words"]


def write_csv(path: str, reports: Sequence[ScoreReport]) -> None:
    """The reports; empty cells where there is no value. Raises SyncLipError."""
    write_rows(path, COLUMNS, ({**report.to_json(), "words": report.words} for report in reports))
