"""The rows of a batch, what is left of them to do, and the servers that do it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import SyncLipError
from .collect import remove_stale
from .journal import Event, Journal
from .manifest import Row


class Server(Protocol):
    """What a batch asks of the one who works on a server's share (lane.Lane)."""

    url: str
    alive: bool
    capacity: int
    now: str  # what it does, for the progress bar

    async def work(self) -> None: ...

    async def listen(self) -> None: ...

    async def tidy_at_the_end(self) -> None: ...

    def lost_for(self) -> float: ...


class Batch:
    """What the lanes share. retries: how often a row is tried again after a fault that may pass. patience: seconds that
    a lost server is waited for. say: prints a sentence. show: draws the progress."""

    def __init__(
        self,
        rows: Sequence[Row],
        journal: Journal,
        out: Path,
        *,
        retries: int = 2,
        patience: float = 120.0,
        say: Callable[[str], None] = lambda text: None,
        show: Callable[["Batch"], None] = lambda batch: None,
    ) -> None:
        self.journal, self.out, self.retries, self.patience = journal, out, retries, patience
        self.say, self.show = say, show
        self.rows = {row.id: row for row in rows if not journal.state.done(row)}
        self.total = len(rows)
        self.todo: deque[Row] = deque(row for row in self.rows.values() if not self.held(row))
        self.lanes: list[Server] = []
        self.finished = asyncio.Event()
        if not self.rows:
            self.finished.set()

    def held(self, row: Row) -> bool:
        """Whether an earlier run queued the row, and nobody knows yet what came of it."""
        return self.journal.state.open.get(row.id, {}).get("key") == row.key

    def take(self, lane: Server) -> Row | None:
        """The next row for a lane; one that was too big for this server goes to another if there is one."""
        for row in self.todo:
            if lane.url not in row.avoid or not self.others_alive(lane):
                self.todo.remove(row)
                return row
        return None

    def reclaim(self, event: Event) -> Row | None:
        """The row of an attempt that was given up, if it waits to be tried again: then that attempt will do."""
        row = next((row for row in self.todo if row.id == event["row"] and row.key == event["key"]), None)
        if row is not None:
            self.todo.remove(row)
        return row

    def give_back(self, row: Row) -> None:
        """To the front, where it was."""
        self.todo.appendleft(row)

    def others_alive(self, lane: Server) -> bool:
        return any(other.alive for other in self.lanes if other is not lane)

    def done(self, row: Row, prompt_id: str, server: str, **fields: Any) -> None:
        before = self.journal.state.settled.get(row.id, {}).get("files") or []
        self.journal.write("done", row=row.id, key=row.key, prompt_id=prompt_id, server=server, **fields)
        remove_stale(self.out, row, before, fields["files"])
        self._settle(row)

    def failed(self, row: Row, prompt_id: str, server: str, error: str, seconds: float | None = None) -> None:
        self.journal.write(
            "failed", row=row.id, key=row.key, prompt_id=prompt_id, server=server, error=error, seconds=seconds
        )
        self.say(f"row {row.id} failed: {error}")
        self._settle(row)

    def retry(self, row: Row, prompt_id: str, server: str, why: str) -> None:
        """Once more, here or elsewhere, unless it was tried often enough."""
        row.tries += 1
        if row.tries > self.retries:
            tries = f" (tried {row.tries} times)" if row.tries > 1 else ""
            self.failed(row, prompt_id, server, why + tries)
            return
        self.say(f"row {row.id}: {why}; trying again")
        self.gone(row.id, prompt_id, why)
        self.todo.append(row)  # last: if it is at fault, the others come first

    def gone(self, row_id: str, prompt_id: str, why: str) -> None:
        """An attempt is over and has left nothing."""
        self.journal.write("gone", row=row_id, prompt_id=prompt_id, why=why)

    def _settle(self, row: Row) -> None:
        del self.rows[row.id]
        self.show(self)
        if not self.rows:
            self.finished.set()

    async def run(self) -> None:
        """Until every row is done or failed. Raises SyncLipError where that cannot be: no server left, a full disk.

        Whatever ends it early, the servers keep what is queued, and another run collects it.
        """
        tasks = [asyncio.create_task(part) for lane in self.lanes for part in (lane.work(), lane.listen())]
        end = asyncio.create_task(self.finished.wait())
        try:
            ended, _ = await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            assert self.finished.is_set(), "lanes end with the batch"
        finally:
            for task in (end, *tasks):
                task.cancel()
            await asyncio.gather(end, *tasks, return_exceptions=True)
        await asyncio.gather(*(lane.tidy_at_the_end() for lane in self.lanes))

    def give_up_if_all_are_lost(self) -> None:
        """Raises SyncLipError when no server has answered for `patience` seconds."""
        if all(lane.lost_for() >= self.patience for lane in self.lanes if lane.capacity):
            raise SyncLipError(
                f"no server has answered for {self.patience:.0f} s, {len(self.rows)} rows are left. "
                "Start one and run the same command again: it goes on from here."
            )
