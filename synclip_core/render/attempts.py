"""The rows that one server has at the moment: handed over, watched, collected."""

import contextlib
import uuid
from dataclasses import dataclass
from typing import Any

from ..errors import SyncLipError
from .batch import Batch
from .collect import fetch, read_result
from .manifest import Row
from .server.client import Client
from .server.transport import Refused, Unreachable


@dataclass
class Attempt:
    """A row on its way through a server. started: seen running, so a loss may be its own fault. entry: the history's,
    once it has ended. stalls: how often its files did not arrive."""

    row: Row
    started: bool = False
    entry: dict[str, Any] | None = None
    stalls: int = 0


class Attempts:
    """By prompt id. Its methods raise Unreachable, and leave things such that they can be called again."""

    def __init__(self, batch: Batch, client: Client) -> None:
        self.batch, self.client = batch, client
        self.active: dict[str, Attempt] = {}

    def unfinished(self) -> int:
        return sum(attempt.entry is None for attempt in self.active.values())

    async def submit(self, row: Row) -> None:
        """Uploads the row's files and queues it. A row that the server refuses has failed."""
        url, prompt_id = self.client.url, str(uuid.uuid4())
        try:
            for name, path in row.files.items():
                await self.client.upload(name, path)
            self._queued(prompt_id, Attempt(row))  # from here on the server may have it, whatever we hear
            found = await self.client.submit(row.graph, prompt_id)
        except Unreachable as error:
            if prompt_id not in self.active:
                self.batch.retry(row, "", url, f"its files did not reach {url} ({error})")
            raise
        except Refused as error:
            if error.status < 500:
                self.batch.failed(row, prompt_id, url, str(error))
            else:
                await self.client.cancel(prompt_id)
                self.batch.retry(row, prompt_id, url, f"{url}: {error}")
            self.active.pop(prompt_id, None)
        except SyncLipError as error:
            self.batch.failed(row, prompt_id, url, str(error))
        else:
            if found != prompt_id:  # a server too old to take our id
                self._queued(found, self.active.pop(prompt_id))

    async def poll(self) -> None:
        """Finds out what has ended, and what the server has forgotten."""
        running, pending = await self.client.queue()
        for prompt_id, attempt in reversed(list(self.active.items())):  # given back in this order, they keep theirs
            if prompt_id in running:
                attempt.started = True
            elif prompt_id not in pending and attempt.entry is None:
                attempt.entry = await self.client.history(prompt_id)
                if attempt.entry is None:  # neither queued nor finished: a restarted ComfyUI remembers nothing
                    self._gone(prompt_id, attempt, f"{self.client.url} lost it", counted=attempt.started)
                else:  # the server may forget it before its files are here; the files outlive that
                    kept = {key: attempt.entry.get(key) for key in ("outputs", "status")}
                    self._record("ended", prompt_id, attempt.row, entry=kept)

    async def collect(self) -> None:
        """Brings home what has ended."""
        for prompt_id, attempt in list(self.active.items()):
            if attempt.entry is not None:
                await self._collect(prompt_id, attempt, attempt.entry)

    async def _collect(self, prompt_id: str, attempt: Attempt, entry: dict[str, Any]) -> None:
        row, url = attempt.row, self.client.url
        try:
            outcome = await read_result(self.client, row, entry)
            if outcome.memory:
                row.avoid.add(url)
                with contextlib.suppress(Refused):  # a server that cannot
                    await self.client.free()
                self._gone(prompt_id, attempt, outcome.error)
                return
            files = [] if outcome.error else await fetch(self.client, row, outcome, self.batch.out)
        except Refused as error:
            self._gone(prompt_id, attempt, f"{url} {error}")
            return
        except Unreachable as error:
            attempt.stalls += 1
            if attempt.stalls > self.batch.retries:
                self._gone(prompt_id, attempt, f"its results did not arrive from {url} ({error})")
            raise
        if outcome.error:
            self.batch.failed(row, prompt_id, url, outcome.error, outcome.seconds)
        else:
            self.batch.done(row, prompt_id, url, seconds=outcome.seconds, files=files, scores=outcome.scores)
        del self.active[prompt_id]

    def adopt(self, prompt_id: str, row: Row, running: bool, entry: dict[str, Any] | None) -> None:
        """An attempt that was given up, and that the server still has."""
        self._queued(prompt_id, Attempt(row, running, entry))

    def abandon(self) -> list[dict[str, Any]]:
        """Gives every row to others; returns the events of the attempts, which the server may still have."""
        events = []
        for prompt_id, attempt in reversed(self.active.items()):
            events.append(self._record("abandoned", prompt_id, attempt.row))
            self.batch.give_back(attempt.row)
        self.active.clear()
        return events

    def _gone(self, prompt_id: str, attempt: Attempt, why: str, counted: bool = True) -> None:
        del self.active[prompt_id]
        if counted:
            self.batch.retry(attempt.row, prompt_id, self.client.url, why)
        else:
            self.batch.gone(attempt.row.id, prompt_id, why)
            self.batch.give_back(attempt.row)

    def _queued(self, prompt_id: str, attempt: Attempt) -> None:
        self._record("queued", prompt_id, attempt.row)
        self.active[prompt_id] = attempt

    def _record(self, kind: str, prompt_id: str, row: Row, **more: Any) -> dict[str, Any]:
        where = {"prompt_id": prompt_id, "server": self.client.url}
        return self.batch.journal.write(kind, row=row.id, key=row.key, **where, **more)
