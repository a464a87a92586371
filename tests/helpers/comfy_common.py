"""A real ComfyUI on the CPU for tests: found, started with a scratch base folder, spoken to, stopped."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK = "comfyui-synclip"  # as the registry would name the folder: with a hyphen
HOW = (
    "no ComfyUI workspace: run `comfy install`, or set COMFYUI_DIR to a checkout of ComfyUI "
    "(and COMFYUI_PYTHON to its Python, where that is not in a venv beside it)"
)


def find_workspace() -> Path | None:
    """$COMFYUI_DIR, or where comfy-cli installs by default."""
    named = os.environ.get("COMFYUI_DIR")
    folder = Path(named) if named else Path.home() / "comfy" / "ComfyUI"
    return folder if (folder / "main.py").is_file() else None


def find_python(workspace: Path) -> str:
    """$COMFYUI_PYTHON, a virtual environment in or beside the checkout, or this Python."""
    places = [base / name for base in (workspace, workspace.parent) for name in (".venv", "venv")]
    found = [place / "bin" / "python" for place in places if (place / "bin" / "python").is_file()]
    return os.environ.get("COMFYUI_PYTHON") or str(next(iter(found), sys.executable))


class Server:
    """A running ComfyUI. base: its scratch folder with input, output, temp, models, custom_nodes."""

    def __init__(self, url: str, base: Path, log: Path, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self.url, self.base, self.log, self.process = url, base, log, process

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def json(self, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def queue(self, graph: dict) -> str:
        """Returns the prompt's id. RuntimeError with the server's words when it refuses the graph."""
        try:
            return self.json("/prompt", {"prompt": graph})["prompt_id"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def wait(self, prompt: str, limit_s: float = 1200) -> dict:
        """The prompt's history: status and outputs."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            history = self.json(f"/history/{prompt}")
            if prompt in history:
                return history[prompt]
            time.sleep(0.05)
        raise TimeoutError(f"prompt {prompt} did not end within {limit_s} s\n{self.log.read_text()[-3000:]}")

    def run(self, graph: dict) -> dict:
        """Outputs of a graph that must succeed, by node."""
        history = self.wait(self.queue(graph))
        assert history["status"]["status_str"] == "success", failure(history)
        return history["outputs"]

    def fail(self, graph: dict) -> str:
        """What a graph that must fail says."""
        history = self.wait(self.queue(graph))
        assert history["status"]["status_str"] == "error", "expected an error, the graph ran"
        return failure(history)

    def put(self, source: Path, name: str | None = None) -> str:
        """Copies a file into the input folder; returns its name there."""
        target = self.base / "input" / (name or source.name)
        shutil.copyfile(source, target)
        return target.name

    def saved(self, outputs: dict, node: str) -> Path:
        """The first file that a node saved or shows."""
        entry = outputs[node]["images"][0]
        return self.base / entry["type"] / entry["subfolder"] / entry["filename"]


def failure(history: dict) -> str:
    errors = [data for kind, data in history["status"]["messages"] if kind == "execution_error"]
    return f"{errors[0]['node_type']}: {errors[0]['exception_message']}" if errors else str(history["status"])


def packets(path: Path, kind: str = "video") -> list[bytes]:
    """What a file's first track of that kind holds, packet by packet."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def workflow(name: str, **inputs: object) -> dict:
    """An API workflow of the pack; inputs: "NODE__INPUT" -> value, to change it."""
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    for key, value in inputs.items():
        node, name = key.lstrip("n").split("__", 1)
        if name == "file" and graph[node]["class_type"] == "SyncLipDemoVideo":
            graph[node] = {"class_type": "LoadVideo", "inputs": {}}
        graph[node]["inputs"][name] = value
    return graph


@contextmanager
def running(base: Path, port: int = 0) -> Iterator[Server]:
    """A server with this pack and no other, on `port` or a free one. Skips where there is no ComfyUI.

    The same base again is a restart: files and log go on, the queue and the history are gone.
    """
    workspace = find_workspace()
    if workspace is None:
        pytest.skip(HOW)
    for name in ("input", "output", "temp", "custom_nodes", "models/synclip"):
        (base / name).mkdir(parents=True, exist_ok=True)
    if not (base / "custom_nodes" / PACK).exists():
        (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    log = base / "server.log"
    command = [find_python(workspace), "main.py", "--cpu", "--base-directory", str(base), "--port", str(port)]
    command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes", "--disable-auto-launch"]
    # the pack must stand alone: nothing of this Python's paths reaches the server
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=workspace, stdout=output, stderr=output, env=environment)
    try:
        server = Server(f"http://127.0.0.1:{port}", base, log, process)
        end = time.monotonic() + 600  # a busy machine
        while True:
            try:
                server.get("/system_stats")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"ComfyUI did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
