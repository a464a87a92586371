"""What a run would do, row by row, without doing it."""

from collections.abc import Sequence
from pathlib import Path

from ..text import shorten
from .check import check_servers
from .journal import check_same_job, read_state
from .manifest import Row
from .server.client import Client
from .server.transport import need_aiohttp
from .server.workflow import Workflow

_WIDEST = 40


async def dry_run(
    workflow: Workflow, rows: Sequence[Row], servers: Sequence[str], out: Path, replace: bool
) -> tuple[str, int]:
    """A table of the rows, a line on each server, and the exit code: 4 where a server does not answer.

    Touches neither the output folder nor any queue. Raises SyncLipError for what `render` would raise it.
    """
    state, _ = read_state(out)
    if not replace:
        check_same_job(out, state, workflow.shape(), list(rows))
    async with need_aiohttp().ClientSession() as session:
        away = await check_servers([Client(session, url, "") for url in dict.fromkeys(servers)], workflow, rows)
    head = ["row", "what", *rows[0].cells, "uploads"]
    lines = [head]
    for row in rows:
        what = "is done" if state.done(row) else "collect" if row.id in state.open else "run"
        uploads = [f"{name} ({path.stat().st_size / 1e6:.1f} MB)" for name, path in row.files.items()]
        lines.append([row.id, what, *(text or "(as is)" for text in row.cells.values()), " ".join(uploads)])
    text = render_table(lines) + "\n\n"
    for url in dict.fromkeys(servers):
        text += f"{url}: {away.get(url) or 'answers, has every node'}\n"
    waiting = sum(not state.done(row) for row in rows)
    return text + f"{len(rows)} rows, {waiting} to do. Nothing was queued.", 4 if away else 0


def render_table(lines: Sequence[Sequence[str]]) -> str:
    """Columns side by side under the first line; a long cell loses its middle, save in the last column."""
    short = [[_shorten(cell) for cell in line[:-1]] + [line[-1]] for line in lines]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in short]
    return "\n".join([drawn[0], "─" * sum(widths, 2 * (len(widths) - 1)), *drawn[1:]])


def _shorten(text: str) -> str:

    return shorten(" ".join(text.split()), _WIDEST)
