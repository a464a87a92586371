"""results.csv: what became of every row of the manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .journal import State
from .manifest import Row
from .names import RESULTS
from .server.outputs import SCORES

_FATE = ("status", "server", "prompt_id", "seconds", "files", "error")


def write_results(out: Path, rows: Sequence[Row], state: State) -> dict[str, int]:
    """Writes the table whole or not at all; returns how many rows are `done`, `failed` or `open` (not settled yet).

    A manifest's column whose name the table needs itself is called manifest.NAME. Score columns are there where any
    row was scored. Raises SyncLipError where it cannot be written.
    """
    from ..files.table import write_rows

    table = [_fate(row, state) for row in rows]
    scores = SCORES if any(row.get("verdict") for row in table) else ()
    ours = ("id", *_FATE, *scores)
    renamed = {column: f"manifest.{column}" if column in ours else column for column in rows[0].cells}
    for line, row in zip(table, rows, strict=True):
        line |= {renamed[column]: text for column, text in row.cells.items()}
    columns = ["id", *renamed.values(), *_FATE, *scores]
    write_rows(out / RESULTS, columns, table)
    counts = {"done": 0, "failed": 0, "open": 0}
    for line in table:
        counts[line["status"]] += 1
    return counts


def _fate(row: Row, state: State) -> dict[str, Any]:
    event = state.settled.get(row.id, {})
    if event.get("key") != row.key:  # nothing is known of the row as it is now
        return {"id": row.id, "status": "open"}
    fate = {"id": row.id, "status": event["event"], "files": ";".join(event.get("files") or [])}
    fate |= {key: event.get(key) for key in ("server", "prompt_id", "seconds", "error")}
    return fate | (event.get("scores") or {})
