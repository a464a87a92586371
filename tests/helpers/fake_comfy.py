"""A small stand-in for a ComfyUI server: a queue, a history that dies with it, files, a websocket; it can misbehave.

It runs in a thread of its own, so that tests stay plain functions. What a node "renders" is a text file that holds the
inputs of the graph, so that a result can be told from any other.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

WORKFLOW = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "speech.mp4"}, "_meta": {"title": "Load Video"}},
    "2": {
        "class_type": "Work",
        "inputs": {"video": ["1", 0], "seed": 7, "strength": 1, "ratio": 0.5, "name": "a", "fast": False},
        "_meta": {"title": "Work"},
    },
    "3": {"class_type": "Save", "inputs": {"work": ["2", 0], "prefix": "out"}, "_meta": {"title": "Save"}},
    "4": {"class_type": "Save", "inputs": {"work": ["2", 0], "prefix": "copy"}, "_meta": {"title": "Save"}},
}
_WORK = {"video": ["VIDEO"], "seed": ["INT", {}], "strength": ["FLOAT", {}], "ratio": ["FLOAT", {}]}
NODES: dict[str, Any] = {
    "LoadVideo": {"input": {"required": {"file": [[], {"video_upload": True}]}}},
    "Work": {"input": {"required": {**_WORK, "name": ["STRING", {}], "fast": ["BOOLEAN", {}]}}},
    "Save": {"input": {"required": {"work": ["WORK"], "prefix": ["STRING", {}]}}},
}


class FakeComfy:
    """seconds: a prompt takes. rule(graph): what its execution gives instead of success, an execution_error's data, or
    None. started, ended: the seeds of what ran, over all lives of the server. gate: nothing ends while it is clear.
    held: seeds that never end."""

    def __init__(
        self, folder: Path, seconds: float = 0.02, rule: Callable[[dict], dict | None] = lambda g: None
    ) -> None:
        self.folder, self.seconds, self.rule = folder, seconds, rule
        self.started: list[Any] = []
        self.ended: list[Any] = []
        self.posted: list[dict] = []
        self.uploads: list[str] = []
        self.cancelled: list[str] = []
        self.freed = 0
        self.nodes = dict(NODES)
        self.gate = threading.Event()
        self.gate.set()
        self.held: set[Any] = set()
        self.hanging = False
        self.away = False  # behind a proxy that says so
        self.keeps_files = False  # while set, downloads wait
        self.slow_to_say = False  # that a prompt ended: not before its files are asked for
        self.keeps_our_ids = True
        self.limit = 100 << 20
        self.outputs: Callable[[dict, str], dict] = self.save
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """A new life on the old port: empty queue, empty history, the files still there."""
        self.pending: list[tuple[str, dict, str]] = []
        self.running: dict[str, dict] = {}
        self.history: dict[str, dict] = {}
        self.interrupted: set[str] = set()
        self.sockets: dict[str, web.WebSocketResponse] = {}
        for name in ("input", "output", "temp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.new_event_loop()
        up = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(up,), daemon=True)
        self._thread.start()
        assert up.wait(10)

    def kill(self) -> None:
        """Connections break, what ran is lost."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._down(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    async def _down(self) -> None:
        self._worker.cancel()
        for socket in self.sockets.values():
            if (request := socket._req) is not None and request.transport is not None:
                request.transport.abort()  # no goodbye
        await self._runner.cleanup()

    def _serve(self, up: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._up())
        up.set()
        self._loop.run_forever()
        self._loop.close()

    async def _up(self) -> None:
        app = web.Application(client_max_size=self.limit, middlewares=[self._hang])
        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.get("/object_info/{kind}", self._object_info),
                web.get("/features", self._features),
                web.post("/prompt", self._prompt),
                web.get("/queue", self._queue),
                web.post("/queue", self._delete),
                web.post("/interrupt", self._interrupt),
                web.post("/free", self._free),
                web.get("/history", self._all_history),
                web.get("/history/{id}", self._history),
                web.get("/view", self._view),
                web.post("/upload/image", self._upload),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self._worker = asyncio.create_task(self._work())

    @web.middleware
    async def _hang(self, request: web.Request, handler: Any) -> web.StreamResponse:
        while self.hanging:
            await asyncio.sleep(0.05)
        return web.Response(status=502) if self.away else await handler(request)

    async def _work(self) -> None:
        while True:
            if not self.pending:
                await asyncio.sleep(0.002)
                continue
            prompt, graph, client = self.pending.pop(0)
            self.running[prompt] = graph
            seed = graph["2"]["inputs"]["seed"]
            self.started.append(seed)
            start = int(time.time() * 1000)
            await self._tell(client, "execution_start", prompt_id=prompt)
            await self._tell(client, "executing", prompt_id=prompt, node="2")
            await self._tell(client, "progress", prompt_id=prompt, node="2", value=1, max=2)
            end = time.monotonic() + self.seconds
            while (
                time.monotonic() < end or not self.gate.is_set() or seed in self.held
            ) and prompt not in self.interrupted:
                await asyncio.sleep(0.002)
            messages = [["execution_start", {"prompt_id": prompt, "timestamp": start}]]
            entry: dict[str, Any] = {"prompt": [0, prompt, graph, {}, []], "outputs": {}}
            if prompt in self.interrupted:
                messages.append(["execution_interrupted", {"prompt_id": prompt, "node_id": "2"}])
            elif error := self.rule(graph):
                messages.append(["execution_error", {"node_id": "2", "node_type": "Work", **error}])
            else:
                messages.append(["execution_success", {"prompt_id": prompt, "timestamp": int(time.time() * 1000)}])
                entry["outputs"] = self.outputs(graph, prompt)
            self.ended.append(seed)
            word = "success" if messages[-1][0] == "execution_success" else "error"
            self.history[prompt] = {**entry, "status": {"status_str": word, "messages": messages}}
            del self.running[prompt]
            self.last_words = (client, prompt)
            if not self.slow_to_say:
                await self._tell(client, "executing", prompt_id=prompt, node=None)

    def save(self, graph: dict, prompt: str) -> dict:
        """Both Save nodes write a file of the same name, one of them to a folder of its own."""
        inputs = graph["2"]["inputs"] | {"file": graph["1"]["inputs"]["file"]}
        outputs = {}
        for node, place in (("3", "a"), ("4", "b")):
            name = f"{graph[node]['inputs']['prefix']}.txt" if node == "3" else "out.txt"
            target = self.folder / "output" / f"{prompt}-{place}" / name
            target.parent.mkdir(exist_ok=True)
            target.write_text(json.dumps(inputs | {"node": node}))
            outputs[node] = {"images": [{"filename": name, "subfolder": target.parent.name, "type": "output"}]}
        report = {"verdict": "audio_early", "lag_frames": 3, "lag_ms": 120, "score": 0.5, "confidence": 0.25}
        outputs["3"] |= {"animated": [True], "synclip_report": [report]}
        return outputs

    async def _tell(self, client: str, kind: str, **data: Any) -> None:
        if (socket := self.sockets.get(client)) and not socket.closed:
            try:
                await socket.send_json({"type": kind, "data": data})
            except ConnectionError:
                pass

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query["clientId"]] = socket
        await socket.send_bytes(b"a preview")
        async for _ in socket:
            pass
        return socket

    async def _object_info(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        return web.json_response({kind: self.nodes[kind]} if kind in self.nodes else {})

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posted.append(body)
        inputs = body["prompt"]["2"]["inputs"]
        if inputs["name"] in ("refused", "half"):
            error = {"message": "Value not in list", "details": "name: 'refused' not in ['a']"}
            report = {"2": {"errors": [error], "class_type": "Work"}}
            if inputs["name"] == "refused":
                failed = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
                return web.json_response({"error": {**failed, "details": ""}, "node_errors": report}, status=400)
        else:
            report = {}
        prompt = body["prompt_id"] if self.keeps_our_ids else f"own-{len(self.posted)}"
        self.pending.append((prompt, body["prompt"], body["client_id"]))
        if inputs["name"] == "crash on post":
            request.transport.abort()  # it has the prompt, and nobody hears so
        return web.json_response({"prompt_id": prompt, "number": 1, "node_errors": report})

    async def _queue(self, request: web.Request) -> web.Response:
        running = [[0, prompt, graph] for prompt, graph in self.running.items()]
        return web.json_response({"queue_running": running, "queue_pending": [[1, p, g] for p, g, _ in self.pending]})

    async def _delete(self, request: web.Request) -> web.Response:
        for prompt in (await request.json())["delete"]:
            self.cancelled += [p for p, _, _ in self.pending if p == prompt]
            self.pending = [item for item in self.pending if item[0] != prompt]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupted.add((await request.json())["prompt_id"])
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        self.freed += 1
        return web.Response()

    async def _features(self, request: web.Request) -> web.Response:
        return web.json_response({"max_upload_size": self.limit})

    async def _all_history(self, request: web.Request) -> web.Response:
        return web.json_response(self.history)

    async def _history(self, request: web.Request) -> web.Response:
        prompt = request.match_info["id"]
        return web.json_response({prompt: self.history[prompt]} if prompt in self.history else {})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        while self.keeps_files and request.method == "GET":
            await asyncio.sleep(0.01)
        if self.slow_to_say:
            await self._tell(self.last_words[0], "executing", prompt_id=self.last_words[1], node=None)
        file = self.folder / query.get("type", "output") / query.get("subfolder", "") / Path(query["filename"]).name
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    async def _upload(self, request: web.Request) -> web.Response:
        post = await request.post()
        assert post["overwrite"] == "true"
        name = post["image"].filename
        self.uploads.append(name)
        (self.folder / "input" / name).write_bytes(post["image"].file.read())
        return web.json_response({"name": name, "subfolder": "", "type": "input"})
