"""Tables in files: CSV, read with one set of rules and written whole or not at all."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SyncLipError
from .atomic import atomic_path


def read_lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of the header and of every line that is not blank.

    UTF-8, with or without the mark that Excel puts first; comma, semicolon or tab, as the header has most of.
    Raises SyncLipError where the file cannot be read or is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=head.count), strict=True)
            yield 1, [cell.strip() for cell in next(reader, [])]
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except OSError as error:
        raise SyncLipError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SyncLipError(f"{path}: is no CSV file in UTF-8 ({error}). Save it as 'CSV UTF-8'.") from error


def read_rows(path: str | Path, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """The lines under the header, by column; a cell that a short line lacks is empty.

    Raises SyncLipError as read_lines does, where a column of `columns` is missing, and where a line has more cells than
    the header.
    """
    columns = list(columns)
    if not Path(path).is_file():
        wanted = f" with columns {', '.join(columns)}" if columns else ""
        raise SyncLipError(f"{path}: expected a CSV table{wanted}; there is no such file")
    lines = read_lines(path)
    _, header = next(lines)
    if missing := [name for name in columns if name not in header]:
        raise SyncLipError(f"{path}: lacks the column(s) {', '.join(missing)}; it has {', '.join(header) or 'none'}")
    rows = []
    for number, cells in lines:
        if len(cells) > len(header):
            raise SyncLipError(f"{path} line {number}: {len(cells)} cells, but the header names {len(header)} columns.")
        rows.append(dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True)))
    return rows


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """UTF-8, RFC 4180, a header line; what is in no column is left out. Raises SyncLipError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
