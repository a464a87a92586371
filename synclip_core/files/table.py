"""Tables in files: CSV, written whole or not at all."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .atomic import atomic_path


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """UTF-8, RFC 4180, a header line; what is in no column is left out. Raises SyncLipError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
