"""What is asked of the servers before anything is queued."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import SyncLipError
from .manifest import Row
from .server.client import Client
from .server.transport import Refused, Unreachable
from .server.workflow import Workflow


async def missing_classes(client: Client, classes: Iterable[str]) -> list[str]:
    """The node classes that a server does not have. Raises Unreachable, Refused."""
    return [kind for kind in classes if await client.knows(kind) is None]


async def check_servers(clients: Sequence[Client], workflow: Workflow, rows: Sequence[Row]) -> dict[str, str]:
    """Why not, of each server that does not answer now, by address. One that does must have every node.

    Raises SyncLipError where a node is missing, no server answers, or a fraction would fill a whole number.
    """
    answers = await asyncio.gather(*(_nodes(client, workflow) for client in clients), return_exceptions=True)
    away: dict[str, str] = {}
    for client, answer in zip(clients, answers, strict=True):
        if isinstance(answer, Unreachable):
            away[client.url] = str(answer)
        elif isinstance(answer, Refused):
            raise SyncLipError(f"{client.url}: {answer}") from answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            _check_fractions(rows, workflow, answer)
    if len(away) == len(clients):
        raise SyncLipError("no server answers. " + "; ".join(f"{url}: {why}" for url, why in away.items()))
    return away


async def _nodes(client: Client, workflow: Workflow) -> dict[str, dict[str, Any]]:
    found = {kind: await client.knows(kind) for kind in workflow.classes()}
    if missing := [kind for kind, spec in found.items() if spec is None]:
        raise SyncLipError(f"{client.url}: lacks nodes of {workflow.path.name}: {', '.join(missing)}.")
    return {kind: spec for kind, spec in found.items() if spec is not None}


def _check_fractions(rows: Sequence[Row], workflow: Workflow, nodes: dict[str, dict[str, Any]]) -> None:
    """ComfyUI would cut the fraction off without a word."""
    for row in rows:
        for where, target in row.fractions.items():
            groups = nodes[workflow.graph[target.node]["class_type"]].get("input") or {}
            kinds = [g[target.input][0] for g in groups.values() if isinstance(g, dict) and g.get(target.input)]
            if kinds == ["INT"]:
                value = row.graph[target.node]["inputs"][target.input]
                raise SyncLipError(f"{where}: expected a whole number, got {value:g}")
