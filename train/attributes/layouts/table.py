"""A plain CSV: `file`, if known `subject` (or `identity`) and `split`, and a column a label.

A column of 0 and 1 is a label of the multi group "labels"; any other is a single group of its own, its values the
labels. An empty cell is not known.
"""

from collections.abc import Sequence
from pathlib import Path

from synclip_core.errors import SyncLipError
from synclip_core.files.table import read_rows

from ..dataset import Dataset, Group, Item

RESERVED = ("file", "subject", "identity", "split")
MULTI = "labels"


def read(table: Path, columns: Sequence[str] | None = None) -> Dataset:
    """table: the CSV, files relative to its folder; columns: the labels, all but RESERVED where none are named.

    Raises SyncLipError where it is missing, lacks a column or holds a single value in one.
    """
    rows = read_rows(table, ("file",))
    if not rows:
        raise SyncLipError(f"{table}: holds no row")
    header = list(rows[0])
    wanted = list(columns) if columns else [name for name in header if name not in RESERVED]
    missing = [name for name in ("file", *wanted) if name not in header]
    if missing or not wanted:
        raise SyncLipError(f"{table}: lacks {', '.join(missing) or 'a label column'}; it has {', '.join(header)}")
    values = {name: sorted({row[name] for row in rows if row[name]}) for name in wanted}
    binary = [name for name in wanted if set(values[name]) <= {"0", "1"}]
    dull = [name for name in wanted if len(values[name]) < 2]
    if dull:
        raise SyncLipError(f"{table}: column {dull[0]} has one value only; there is nothing to tell apart")
    groups = [Group(name, "single", tuple(values[name])) for name in wanted if name not in binary]
    if binary:
        groups.append(Group(MULTI, "multi", tuple(binary)))
    items = [
        Item(
            table.parent / row["file"],
            {group.name: row[group.name] for group in groups if group.kind == "single" and row[group.name]},
            {name: row[name] == "1" for name in binary if row[name]},
            row.get("subject") or row.get("identity") or "",
            row.get("split") or "",
        )
        for row in rows
    ]
    return Dataset(table.stem, tuple(groups), tuple(items))
