"""Files of results that grow a row at a time: JSON lines, CSV, and Parquet where pyarrow is installed.

A run that was killed leaves whole rows: a last line that was cut off is taken away when the file is opened again.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from ...errors import SyncLipError
from ...files.atomic import atomic_path, write_error
from ...files.table import read_rows
from ...sync.report import ScoreReport
from ..shared.csv_file import COLUMNS, timeline_cell

PART = 256  # rows of a Parquet file
SUFFIXES = (".jsonl", ".csv", ".parquet")


class RowFile(Protocol):
    """Open for appending. `close` keeps every row that was added."""

    def add(self, report: ScoreReport) -> None: ...
    def close(self) -> None: ...


class Lines:
    """JSON lines: what `score --json` has of a file, an object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_to_append(path)

    def add(self, report: ScoreReport) -> None:
        _write(self.path, self._file, json.dumps(report.to_json(), allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


class Csv:
    """The table of `score --csv`, a line a row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_to_append(path)
        self._writer = csv.DictWriter(self, COLUMNS, extrasaction="ignore")
        if not path.stat().st_size:
            self._writer.writeheader()

    def write(self, line: str) -> None:
        """For csv's writer."""
        _write(self.path, self._file, line)

    def add(self, report: ScoreReport) -> None:
        row = {**report.to_json(), "timeline": timeline_cell(report)}
        self._writer.writerow({k: " ".join(v.split()) if k == "error" and v else v for k, v in row.items()})

    def close(self) -> None:
        self._file.close()


class Parquet:
    """A folder of Parquet files, which readers of Parquet take as one table: PART rows each, written whole.

    Columns as in the CSV, and the object of `score --json` as text in `report`."""

    def __init__(self, path: Path) -> None:
        _pyarrow()
        self.path = path
        path.mkdir(exist_ok=True)
        self._count = len(list(path.glob("part-*.parquet")))
        self._rows: list[dict[str, Any]] = []

    def add(self, report: ScoreReport) -> None:
        row = report.to_json()
        kept: dict[str, Any] = {name: row.get(name) for name in COLUMNS if name != "timeline"}
        for name, value in kept.items():  # one type a column, whatever the first rows hold
            if isinstance(value, int | float) and not isinstance(value, bool):
                kept[name] = float(value)
            elif value is not None and not isinstance(value, str):
                kept[name] = json.dumps(value)
        self._rows.append({**kept, "timeline": timeline_cell(report), "report": json.dumps(row, allow_nan=False)})
        if len(self._rows) >= PART:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        arrow, parquet = _pyarrow()
        texts = ("file", "verdict", "words", "reason", "error", "timeline", "report", *_LISTS)
        fields = [(name, arrow.string() if name in texts else arrow.float64()) for name in self._rows[0]]
        with atomic_path(self.path / f"part-{self._count:06d}.parquet") as temporary:
            parquet.write_table(arrow.Table.from_pylist(self._rows, schema=arrow.schema(fields)), temporary)
        self._count, self._rows = self._count + 1, []

    def close(self) -> None:
        self._flush()


_LISTS = ("curve", "worst_ticks")


def open_rows(path: Path) -> RowFile:
    """By its suffix, opened to append. Raises SyncLipError."""
    kinds: dict[str, Callable[[Path], RowFile]] = {".jsonl": Lines, ".csv": Csv, ".parquet": Parquet}
    try:
        return kinds[path.suffix.lower()](path)
    except KeyError:
        raise SyncLipError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}") from None
    except OSError as error:
        raise write_error(path, error) from error


def rows_there(path: Path) -> Iterator[tuple[str, str]]:
    """(file, verdict) of the rows that a run before left. Raises SyncLipError where it is no such file."""
    if not path.exists():
        return
    kind = path.suffix.lower()
    try:
        if kind == ".jsonl":
            _drop_torn_line(path)
            with open(path, encoding="utf-8") as file:
                for line in file:
                    row = json.loads(line)
                    yield row["file"], row["verdict"]
        elif kind == ".csv":
            _drop_torn_line(path)
            for cells in read_rows(path, ("file", "verdict")) if path.stat().st_size else ():
                yield cells["file"], cells["verdict"]
        else:
            for part in sorted(path.glob("part-*.parquet")):
                table = _pyarrow()[1].read_table(part, columns=["file", "verdict"])
                yield from zip(*(column.to_pylist() for column in table.columns), strict=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SyncLipError(f"{path}: is no table of results to go on with ({error}); choose another name") from error


def _open_to_append(path: Path) -> IO[str]:
    return open(path, "a", newline="", encoding="utf-8", errors="replace")


def _write(path: Path, file: IO[str], text: str) -> None:
    """The whole text, out of this process's hands when it returns."""
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        raise write_error(path, error) from error


def _drop_torn_line(path: Path) -> None:
    """Takes away what stands after the last line end."""
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            end = start
        file.truncate(0)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise SyncLipError("a .parquet file needs pyarrow: pip install pyarrow") from error
    return pyarrow, pyarrow.parquet
