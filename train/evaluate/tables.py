"""Rows of plain values as aligned text, and reports as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synclip_core.files.atomic import atomic_path

Row = Mapping[str, Any]


def percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def format_table(title: str, rows: Sequence[Row]) -> str:
    """One line a row, columns from the first row, numbers to the right; None as "-"."""
    if not rows:
        return f"{title}\n  (no clips)"
    columns = list(rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    text = [isinstance(rows[0][column], str) for column in columns]

    def line(values: Sequence[str]) -> str:
        parts = [v.ljust(w) if t else v.rjust(w) for v, w, t in zip(values, widths, text, strict=True)]
        return "  " + "  ".join(parts).rstrip()

    return "\n".join([title, line(columns), "  " + "  ".join("-" * w for w in widths), *map(line, cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.4f}"
    return str(value)


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Whole or not at all: written beside its place and renamed. SyncLipError where it cannot be written."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
