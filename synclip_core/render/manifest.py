"""The manifest: a CSV file, a row a job, whose columns fill inputs of the workflow."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SyncLipError
from ..files.table import read_lines
from .names import JOURNAL, RESULTS, safe_name, upload_name
from .server.workflow import Graph, Target, Workflow, digest
from .values import convert


@dataclass
class Row:
    """One job. cells: as in the manifest, by column. files: name on the server -> local file. fractions: where the
    manifest has a fraction and the workflow a whole number, by place. avoid: servers where memory did not suffice."""

    id: str
    folder: str
    cells: dict[str, str]
    graph: Graph
    files: dict[str, Path]
    fractions: dict[str, Target] = field(default_factory=dict)
    tries: int = 0
    avoid: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.key = digest(self.graph)  # of the files' contents too: their names on the server carry their hashes


def read_manifest(path: str | Path, workflow: Workflow, uploads: Collection[str] = ()) -> list[Row]:
    """Every row, checked: columns, types and files, so that nothing is queued when one is wrong.

    An empty cell leaves the workflow's value. Paths are relative to the manifest's folder. Column `id` names the row,
    else its number does. uploads: further columns that hold paths. Raises SyncLipError.
    """
    return _rows(Path(path), workflow, read_lines(path), uploads)


def read_folder(folder: str | Path, files: Sequence[str | Path], workflow: Workflow) -> list[Row]:
    """A row for each file in or below a folder, named as the file is from there, which fills `video`.

    Raises SyncLipError, as read_manifest does.
    """
    cells = [[Path(file).relative_to(folder).as_posix(), str(Path(file).absolute())] for file in files]
    return _rows(Path(folder), workflow, enumerate([["id", "video"], *cells], 1), ())


def _rows(
    path: Path, workflow: Workflow, given: Iterable[tuple[int, list[str]]], uploads: Collection[str]
) -> list[Row]:
    lines = iter(given)
    _, header = next(lines, (0, []))
    reader = _Reader(path, workflow, header, uploads)
    rows = [reader.row(line, number, cells) for number, (line, cells) in enumerate(lines, 1)]
    if not rows:
        raise SyncLipError(f"{path}: has no rows below its header.")
    folders: dict[str, Row] = {}
    for row in rows:
        row.folder += "_" if row.folder.casefold() in (RESULTS, JOURNAL) else ""
        other = folders.setdefault(row.folder.casefold(), row)
        if other is not row:
            same = "appears twice" if other.id == row.id else f"and {other.id!r} would share the folder {row.folder}"
            raise SyncLipError(f"{path}: row id {row.id!r} {same}. Give every row an id of its own.")
    return rows


class _Reader:
    """Turns cells into rows; knows which column fills what."""

    def __init__(self, path: Path, workflow: Workflow, header: list[str], uploads: Collection[str]) -> None:
        self.path, self.workflow, self.header = path, workflow, header
        if not header or not all(header) or len(set(header)) < len(header):
            raise SyncLipError(f"{path}: its first line must name every column, each once; it is {','.join(header)!r}.")
        self.columns: dict[str, Target] = {}
        for column in header:
            if column != "id":
                self.columns[column] = self._target(column)
        for wrong in set(uploads) - set(self.columns):
            raise SyncLipError(f"{path}: --upload {wrong!r} is no column of it. There are: {', '.join(self.columns)}.")
        self.files = {c for c, target in self.columns.items() if c in uploads or workflow.takes_file(target)}
        self.names: dict[Path, str] = {}  # each file is hashed once, however many rows use it

    def _target(self, column: str) -> Target:
        try:
            target = self.workflow.resolve(column)
        except SyncLipError as error:
            raise SyncLipError(f"{self.path}: {error}") from error
        for other, taken in self.columns.items():
            if taken == target:
                raise SyncLipError(f"{self.path}: columns {other!r} and {column!r} fill the same input.")
        return target

    def row(self, line: int, number: int, cells: list[str]) -> Row:
        if len(cells) > len(self.header):
            raise SyncLipError(
                f"{self.path} line {line}: {len(cells)} cells, but the header names {len(self.header)} columns."
            )
        texts = dict(zip(self.header, cells + [""] * (len(self.header) - len(cells)), strict=True))
        row_id = texts.pop("id", "").strip() if "id" in self.header else f"{number:04d}"
        if not row_id:
            raise SyncLipError(f"{self.path} line {line}: column id is empty. Name every row, or leave the column out.")
        values: dict[Target, Any] = {}
        files: dict[str, Path] = {}
        fractions: dict[str, Target] = {}
        for column, text in texts.items():
            if not text.strip():
                continue
            target, where = self.columns[column], f"{self.path} line {line} (row {row_id}), column {column}"
            try:
                if column in self.files:
                    values[target] = self._file(text.strip(), files)
                else:
                    values[target] = convert(text, self.workflow.value(target))
            except SyncLipError as error:
                raise SyncLipError(f"{where}: {error}") from error
            if isinstance(values[target], float) and isinstance(self.workflow.value(target), int):
                fractions[where] = target
        return Row(row_id, safe_name(row_id), texts, self.workflow.filled(values), files, fractions)

    def _file(self, text: str, files: dict[str, Path]) -> str:
        """The name on the server of a local file, which joins `files`."""
        path = self.path.parent / text
        if path not in self.names:
            self.names[path] = upload_name(path)
        files[self.names[path]] = path
        return self.names[path]
