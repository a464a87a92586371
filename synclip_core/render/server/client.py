"""One ComfyUI server, by its HTTP and websocket API. Knows nothing of rows.

Own code over aiohttp: the client libraries on PyPI wait for one prompt at a time, and none takes a prompt up again.
"""

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SyncLipError
from .outputs import Item
from .transport import AWAY, Refused, Transport, Unreachable, need_aiohttp, sentence_of
from .workflow import Graph

if TYPE_CHECKING:
    import aiohttp

_BLOCK = 1 << 20  # bytes of a download that are in memory at a time


class Client:
    """Its methods raise Unreachable and Refused.

    url: as `check_url` gives it. client_id: under which the server reports progress, the same in every run.
    """

    def __init__(self, session: "aiohttp.ClientSession", url: str, client_id: str) -> None:
        self.url, self._client_id, self._http = url, client_id, Transport(session, url)

    async def knows(self, kind: str) -> dict[str, Any] | None:
        """The server's description of a node class, None where it has no such class."""
        from yarl import URL

        place = URL(self.url + "/object_info").joinpath(kind)
        return (await self._http.ask("GET", place)).get(kind)

    async def submit(self, graph: Graph, prompt_id: str) -> str:
        """Queues a graph; returns its id on the server, which is prompt_id save for old servers.

        Raises Refused with the server's sentence, also where it would run the valid half of a graph only.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": self._client_id}
        answer = await self._http.ask("POST", "/prompt", json=body)
        found = str(answer.get("prompt_id") or prompt_id)
        if answer.get("node_errors"):
            await self.cancel(found)
            raise Refused(400, sentence_of(answer))
        return found

    async def queue(self) -> tuple[set[str], set[str]]:
        """Ids of the prompts that run and of those that wait."""
        answer = await self._http.ask("GET", "/queue")
        try:
            running, pending = ({str(item[1]) for item in answer[f"queue_{k}"]} for k in ("running", "pending"))
        except (KeyError, TypeError, IndexError) as error:
            raise Unreachable("does not answer /queue as ComfyUI does") from error
        return running, pending

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """What became of a prompt that ended; None of any other. Ask for the queue before it: a prompt moves on."""
        return (await self._http.ask("GET", f"/history/{prompt_id}")).get(prompt_id)

    async def same_graph(self, graph: Graph) -> list[dict[str, Any]]:
        """Histories of every prompt of the same graph, the newest first."""

        def bare(entry: dict[str, Any]) -> Graph:  # servers note things of their own in the nodes
            nodes = entry["prompt"][2] if len(entry.get("prompt") or ()) > 2 else {}
            return {node: {k: spec.get(k) for k in ("class_type", "inputs")} for node, spec in nodes.items()}

        entries = list((await self._http.ask("GET", "/history")).values())
        return [entry for entry in reversed(entries) if bare(entry) == graph]

    async def cancel(self, prompt_id: str) -> None:
        """Takes a prompt out of the queue, or stops it where it runs already. Nobody else's is touched."""
        await self._http.ask("POST", "/queue", json={"delete": [prompt_id]})
        running, _ = await self.queue()
        if prompt_id in running:
            await self._http.ask("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def free(self) -> None:
        """Asks the server to empty its memory before the next prompt."""
        await self._http.ask("POST", "/free", json={"unload_models": True, "free_memory": True})

    async def upload(self, name: str, path: Path) -> None:
        """Puts a file into the input folder unless a file of this name and length is there.

        Raises SyncLipError where the file cannot be read any more.
        """
        where = {"filename": name, "type": "input"}
        try:
            size = path.stat().st_size
            file = open(path, "rb")
        except OSError as error:
            raise SyncLipError(f"{path}: cannot be read any more ({error.strerror or error}).") from error
        with file:
            try:
                async with self._http.session.head(
                    self.url + "/view", params=where, timeout=self._http.answer, allow_redirects=False
                ) as there:
                    if there.status == 200 and there.content_length == size:
                        return
            except self._http.trouble as error:
                raise self._http.unreachable(error) from error
            await self._check_size(path, size)
            form = need_aiohttp().FormData({"type": "input", "overwrite": "true"})
            form.add_field("image", file, filename=name, content_type="application/octet-stream")
            answer = await self._http.ask("POST", "/upload/image", data=form, timeout=self._http.transfer)
        if answer.get("name") != name:
            raise Refused(500, f"stored {name} as {answer.get('name')!r}")

    async def _check_size(self, path: Path, size: int) -> None:
        """A server that finds a file too big cuts the connection, often before its reason arrives: so ask first."""
        try:
            limit = (await self._http.ask("GET", "/features")).get("max_upload_size")
        except Refused:  # a server without this page
            return
        if isinstance(limit, int) and size + 4096 > limit:  # the form around it counts too
            sizes = f"{size / 2**20:.0f} MB, the server takes {limit / 2**20:.0f} MB"
            raise Refused(413, f"{path}: has {sizes}; start ComfyUI with a larger --max-upload-size")

    async def download(self, item: Item) -> AsyncGenerator[bytes, None]:
        """A file that a node saved, a block at a time. Raises Refused where the server has it no more."""
        params = {key: item[key] for key in ("filename", "subfolder", "type")}
        try:
            async with self._http.session.get(
                self.url + "/view", params=params, timeout=self._http.transfer, allow_redirects=False
            ) as answer:
                if answer.status in AWAY:
                    raise Unreachable(f"HTTP {answer.status}")
                if answer.status != 200:
                    raise Refused(answer.status, f"does not give {item['filename']} (HTTP {answer.status})")
                async for block in answer.content.iter_chunked(_BLOCK):
                    yield block
        except self._http.trouble as error:
            raise self._http.unreachable(error) from error

    async def listen(self, hear: Callable[[str, dict[str, Any]], None]) -> None:
        """Calls hear(type, data) for what the server tells this client, until the connection ends."""
        aiohttp = need_aiohttp()
        url = f"{self.url}/ws?clientId={self._client_id}"
        try:
            async with self._http.session.ws_connect(url, heartbeat=20, max_msg_size=64 << 20) as socket:
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT:  # the others are previews
                        try:
                            said = json.loads(message.data)
                        except ValueError:
                            continue
                        if isinstance(said, dict) and isinstance(said.get("data"), dict):
                            hear(str(said.get("type")), said["data"])
        except self._http.trouble as error:
            raise self._http.unreachable(error) from error
