"""What became of every row, on disk before anything else happens, so that a killed run goes on where it stopped.

One JSON object a line, appended and fsynced: `begin` (a run), `queued` (before the server is told, under an id of our
own choice, so that no kill can hide a prompt), `ended` (with what its server said of it), `abandoned` (its server was
lost, the row went elsewhere), `gone` (the attempt is over without a result), `done`, `failed`.
"""

import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import SyncLipError
from ..files.lock import taken_alone
from .manifest import Row
from .names import JOURNAL, RESULTS

Event = dict[str, Any]


@dataclass
class State:
    """What a journal amounts to. By row id: settled (the `done` or `failed` event) and open (`queued` or `ended`).
    By prompt id: orphans (abandoned, perhaps still on their server)."""

    shape: str | None = None
    client_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    settled: dict[str, Event] = field(default_factory=dict)
    open: dict[str, Event] = field(default_factory=dict)
    orphans: dict[str, Event] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        kind, row, prompt = event["event"], event.get("row", ""), event.get("prompt_id", "")
        if kind == "begin":
            self.shape, self.client_id = event["workflow"], event["client_id"]
            return
        self.orphans.pop(prompt, None)
        if kind in ("queued", "ended"):
            self.open[row] = event
        elif kind in ("done", "failed"):
            self.open.pop(row, None)
            self.settled[row] = event
        elif self.open.get(row, {}).get("prompt_id") == prompt:
            del self.open[row]
        if kind == "abandoned":
            self.orphans[prompt] = event

    def done(self, row: Row) -> bool:
        """Whether the row, with these very values, has its result."""
        event = self.settled.get(row.id)
        return event is not None and event["event"] == "done" and event["key"] == row.key


def read_state(folder: Path) -> tuple[State, int]:
    """The state, and the length in bytes of what is whole: a kill can cut the last line short.

    An empty state where there is no journal. Raises SyncLipError where the file is something else or damaged.
    """
    state, whole, lines, path = State(), 0, 0, folder / JOURNAL
    try:
        data = path.read_bytes() if path.exists() else b""
        for line in data.splitlines(keepends=True):
            lines += 1
            if line.endswith(b"\n"):
                state.apply(json.loads(line))
                whole += len(line)
    except OSError as error:
        raise SyncLipError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SyncLipError(
            f"{path} line {lines}: is no line of a render journal. Take another output folder, or mend the line."
        ) from error
    return state, whole


class Journal:
    """Appends events to the journal of `folder`; `state` follows. One run at a time (not enforced on Windows).

    Raises SyncLipError where the folder cannot be written, or another run is writing to it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and (folder / RESULTS).exists():
                raise SyncLipError(f"{folder}: has a results.csv but no journal of ours. Take another output folder.")
            self._file = open(self.path, "ab", buffering=0)
        except OSError as error:
            raise SyncLipError(f"{folder}: cannot be written ({error.strerror or error}).") from error
        if not taken_alone(self._file):
            self._file.close()
            raise SyncLipError(f"{folder}: another synclip render is writing to it. Let it end first.")
        self.state, whole = read_state(folder)
        self._file.truncate(whole)

    def write(self, kind: str, **fields: Any) -> Event:
        """Raises SyncLipError when the disk is full."""
        event = {"event": kind, "time": round(time.time(), 3), **fields}
        try:
            self._file.write(json.dumps(event).encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise SyncLipError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        self.state.apply(event)
        return event

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def check_same_job(folder: Path, state: State, shape: str, rows: list[Row]) -> None:
    """Raises SyncLipError where the folder holds results that this run would mix with its own or replace.

    New rows are welcome, and so are rows left out; a row that is done must be what it was.
    """
    advice = "Take another -o, or give --replace to run those rows anew."
    if state.shape not in (None, shape):
        raise SyncLipError(f"{folder}: holds results of another workflow. {advice}")
    done = {row for row, event in state.settled.items() if event["event"] == "done"}
    changed = [row.id for row in rows if row.id in done and not state.done(row)]
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise SyncLipError(
            f"{folder}: rows are done with other values, files or settings of the workflow: {shown}. {advice}"
        )
    if done and not done & {row.id for row in rows}:
        raise SyncLipError(f"{folder}: holds results of another manifest: none of its rows is in this one. {advice}")
