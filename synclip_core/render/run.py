"""A whole run, from the checked rows to the table of results."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .batch import Batch
from .check import check_servers
from .journal import Journal, check_same_job
from .lane import Lane
from .manifest import Row
from .results import write_results
from .server.client import Client
from .server.transport import need_aiohttp
from .server.workflow import Workflow


async def render(
    workflow: Workflow,
    rows: Sequence[Row],
    servers: Sequence[str],
    out: Path,
    *,
    retries: int = 2,
    patience: float = 120.0,
    replace: bool = False,
    say: Callable[[str], None] = lambda text: None,
    show: Callable[[Batch], None] = lambda batch: None,
) -> dict[str, int]:
    """Renders every row that is not done yet; returns how many rows are done, failed and open.

    servers: addresses as `check_url` gives them. out: the folder for results, journal and table; made if need be.
    retries: of a row after what may pass (memory, a lost server). patience: seconds that a lost server is waited for
    before its rows go to another. replace: rows that are done with other values are run anew. say, show: see Batch.
    The table is written whatever ends the run. Raises SyncLipError.
    """
    aiohttp = need_aiohttp()
    with Journal(out) as journal:
        if not replace:
            check_same_job(out, journal.state, workflow.shape(), list(rows))
        async with aiohttp.ClientSession() as session:
            clients = [Client(session, url, journal.state.client_id) for url in dict.fromkeys(servers)]
            batch = Batch(rows, journal, out, retries=retries, patience=patience, say=say, show=show)
            if batch.rows:
                for url, why in (await check_servers(clients, workflow, rows)).items():
                    say(f"{url} does not answer, going on without it until it does ({why})")
            journal.write("begin", workflow=workflow.shape(), client_id=journal.state.client_id)
            batch.lanes = [Lane(batch, client, workflow) for client in clients]
            for url in _left_behind(journal, servers):
                batch.lanes.append(Lane(batch, Client(session, url, journal.state.client_id), workflow, capacity=0))
            try:
                await batch.run()
            finally:
                counts = write_results(out, rows, journal.state)
    return counts


def _left_behind(journal: Journal, servers: Sequence[str]) -> list[str]:
    """Servers of an earlier run that may still have rows of ours, and that this run was not given."""
    events = (*journal.state.open.values(), *journal.state.orphans.values())
    return sorted({event["server"] for event in events} - set(servers))
