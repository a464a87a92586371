"""One server's share of a batch: a row to work on and one to wait; what happens when the server goes and comes back."""

import asyncio
import contextlib
import time
from typing import Any

from .attempts import Attempt, Attempts
from .batch import Batch
from .check import missing_classes
from .journal import Event
from .server.client import Client
from .server.transport import Refused, Unreachable
from .server.workflow import Workflow

CAPACITY = 2  # one runs, one waits: the GPU has work while we collect and upload
POLL_S = 2.0  # how often a server is asked when its websocket says nothing
_PARTING_S = 10.0  # for what is left to tidy when all rows are done


class Lane:
    """capacity 0: collects what an earlier run left on a server that this run was not given."""

    def __init__(self, batch: Batch, client: Client, workflow: Workflow, capacity: int = CAPACITY) -> None:
        self.batch, self.client, self.workflow, self.capacity = batch, client, workflow, capacity
        self.url = client.url
        self.attempts = Attempts(batch, client)
        self.orphans: dict[str, Event] = {}  # given up when the server was lost; perhaps it still has them
        self.now = ""  # what it does, for the progress bar
        self.alive = False
        self._lost_since: float | None = None
        self._wake = asyncio.Event()
        state = batch.journal.state
        for event in (*state.orphans.values(), *state.open.values()):
            row = batch.rows.get(event["row"])
            if event["server"] != client.url:
                continue
            if row is not None and batch.held(row) and event is state.open.get(row.id):
                self.attempts.active[event["prompt_id"]] = Attempt(row, entry=event.get("entry"))
            else:  # given up, or the row was changed or left out meanwhile
                self.orphans[event["prompt_id"]] = event

    def lost_for(self) -> float:
        """Seconds."""
        return 0.0 if self._lost_since is None else time.monotonic() - self._lost_since

    async def work(self) -> None:
        """Until it is cancelled. Raises SyncLipError where the batch cannot go on."""
        while True:
            self._wake.clear()
            try:
                await self._step()
            except (Unreachable, Refused) as error:  # refused what ComfyUI never refuses: another program, a proxy
                self._lose(error)
            # not asyncio.wait_for: before Python 3.12 it can swallow a cancellation
            timer = asyncio.get_running_loop().call_later(POLL_S, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _step(self) -> None:
        if not self.alive:
            await self.client.queue()  # a sign of life
            if self.capacity and (missing := await missing_classes(self.client, self.workflow.classes())):
                raise Unreachable(f"lacks the nodes {', '.join(missing)}")
            self._found()
        await self._tidy()
        await self.attempts.poll()
        while self.attempts.unfinished() < self.capacity and len(self.attempts.active) < 2 * self.capacity:
            if (row := self.batch.take(self)) is None:
                break
            await self.attempts.submit(row)
        await self.attempts.collect()  # last, so that the server works meanwhile

    async def _tidy(self) -> None:
        """Orphans of a server that is back: taken up again if their row still waits, else cancelled."""
        for prompt_id, event in list(self.orphans.items()):
            running, pending = await self.client.queue()
            entry = await self.client.history(prompt_id)
            there = prompt_id in running | pending
            if (there or entry) and (row := self.batch.reclaim(event)):
                self.attempts.adopt(prompt_id, row, prompt_id in running, entry)
            else:
                if there:
                    await self.client.cancel(prompt_id)
                self.batch.gone(event["row"], prompt_id, "cancelled" if there else "finished or forgotten")
            del self.orphans[prompt_id]

    async def tidy_at_the_end(self) -> None:
        """What a lost server would still run is cancelled if it is back by now; else a sentence says so."""
        try:
            await asyncio.wait_for(self._tidy(), _PARTING_S)
        except (Unreachable, Refused, asyncio.TimeoutError):
            rows = ", ".join(event["row"] for event in self.orphans.values())
            self.batch.say(f"{self.client.url} is away; if it comes back it may run for nothing: row {rows}")

    def _found(self) -> None:
        if self._lost_since is not None:
            self.batch.say(f"{self.client.url} answers again")
        self._lost_since, self.alive = None, self.capacity > 0

    def _lose(self, error: Exception) -> None:
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            self.batch.say(f"{self.client.url} does not answer; waiting {self.batch.patience:.0f} s for it ({error})")
        self.alive, self.now = False, ""
        if self.lost_for() < self.batch.patience:
            return
        if self.batch.others_alive(self):
            if self.attempts.active:
                self.batch.say(f"{self.client.url} stays away; its rows go to other servers")
            self.orphans.update({event["prompt_id"]: event for event in self.attempts.abandon()})
        else:
            self.batch.give_up_if_all_are_lost()

    async def listen(self) -> None:
        """Hears of the server's progress, until it is cancelled. Only the polling decides anything."""
        while True:
            with contextlib.suppress(Unreachable):
                await self.client.listen(self._hear)
            await asyncio.sleep(POLL_S)

    def _hear(self, kind: str, data: dict[str, Any]) -> None:
        attempt = self.attempts.active.get(data.get("prompt_id", ""))
        if attempt is None or kind not in ("execution_start", "executing", "progress"):
            return
        attempt.started = True
        node = data.get("node")
        if kind == "executing" and node is None:  # the very last that is said of a prompt
            self._wake.set()
        self.now = self.workflow.title(str(node)) if node else ""
        if kind == "progress" and data.get("max"):
            self.now += f" {100 * data['value'] / data['max']:.0f} %"
        self.batch.show(self.batch)
