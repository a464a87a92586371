"""Fetching what a prompt made into the row's own folder."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

from ..errors import SyncLipError
from .manifest import Row
from .names import distinct
from .server.client import Client
from .server.outputs import Outcome, read_outcome


async def read_result(client: Client, row: Row, entry: dict[str, Any]) -> Outcome:
    """What the history's entry says; where a server gave a cached result no files, those of the prompt that made it.

    Raises Unreachable, Refused.
    """
    outcome = read_outcome(entry)
    if outcome.cached and not outcome.error and not outcome.files and not outcome.scores:
        for earlier in await client.same_graph(row.graph):
            found = read_outcome(earlier)
            if found.files or found.scores:
                found.seconds = outcome.seconds
                return found
    return outcome


async def fetch(client: Client, row: Row, outcome: Outcome, out: Path) -> list[str]:
    """Every file of the outcome into `out`/<the row's folder>, each whole or not at all; returns their paths below it.

    Raises Unreachable, Refused; SyncLipError where the disk is full or the folder cannot be written.
    """
    from ..files.atomic import atomic_path

    folder, made = out / row.folder, []
    taken: set[str] = set()
    for item in outcome.files:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".synclip-*") if not taken else ():
                left.unlink()  # half a file of a run that was killed
        except OSError as error:
            raise SyncLipError(f"{folder}: cannot be written ({error.strerror or error}).") from error
        target = folder / distinct(item["filename"], item["node"], taken)
        with atomic_path(target) as temporary, open(temporary, "wb") as file:
            async with aclosing(client.download(item)) as blocks:
                async for block in blocks:
                    file.write(block)
        made.append(target.relative_to(out).as_posix())
    return made


def remove_stale(out: Path, row: Row, before: list[str], now: list[str]) -> None:
    """Takes away what an earlier result of the row left and the new one did not replace; nothing but what we wrote."""
    for name in set(before) - set(now):
        path = out / name
        if path.parent.resolve() == (out / row.folder).resolve():
            path.unlink(missing_ok=True)
