"""A workflow in ComfyUI's API format, and the names by which a manifest's columns reach its inputs."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SyncLipError

Graph = dict[str, dict[str, Any]]  # node id -> class_type, inputs, _meta

_ALIASES = {"video": ("LoadVideo", "file"), "audio": ("LoadAudio", "audio"), "image": ("LoadImage", "image")}
# Inputs that name a file in the server's input folder: core's, and those of VideoHelperSuite.
_FILES = {*_ALIASES.values(), ("LoadImageMask", "image"), ("VHS_LoadVideo", "video"), ("VHS_LoadVideoFFmpeg", "video")}
_FILES |= {("VHS_LoadAudioUpload", "audio")}
_DEMO = "SyncLipDemoVideo"  # stands where a file belongs: its output 0 is a VIDEO, 1 an AUDIO


@dataclass(frozen=True)
class Target:
    """One input of one node."""

    node: str
    input: str


class Workflow:
    """graph: as in the file. path: for messages."""

    def __init__(self, graph: Graph, path: Path) -> None:
        self.graph, self.path = graph, path
        self._stand_ins = {node: self._loader(node) for node, s in graph.items() if s["class_type"] == _DEMO}
        self._names: dict[str, list[Target]] = {}
        for node, spec in graph.items():
            for name, value in spec["inputs"].items():
                if not is_link(value):
                    for key in {f"{node}.{name}", f"{self.title(node)}.{name}", name}:
                        self._names.setdefault(key, []).append(Target(node, name))
        for node, kind in self._stand_ins.items():
            name = _ALIASES[kind][1]
            titles = (f"{node}.{name}", f"{self.title(node)}.{name}", f"Load {kind.title()}.{name}", name)
            for key in dict.fromkeys(titles):
                self._names.setdefault(key, []).append(Target(node, name))

    def _loader(self, node: str) -> str:
        """What a file in the place of the demo clip is: audio where nothing but its sound is used, else video."""
        links = [value for spec in self.graph.values() for value in spec["inputs"].values() if is_link(value)]
        return "audio" if {output for source, output in links if source == node} == {1} else "video"

    def title(self, node: str) -> str:
        """What a person reads on the node; its class where it has no title, its id where it is no node of this file."""
        spec = self.graph.get(node, {})
        return str(spec.get("_meta", {}).get("title") or spec.get("class_type") or node)

    def classes(self) -> list[str]:
        return sorted({spec["class_type"] for spec in self.graph.values()})

    def value(self, target: Target) -> Any:
        """Empty for the file that may take the place of a demo clip."""
        return self.graph[target.node]["inputs"].get(target.input, "")

    def _replaces(self, target: Target) -> bool:
        """Whether the input is of the loader that takes a demo clip's place."""
        kind = self._stand_ins.get(target.node)
        return kind is not None and _ALIASES[kind][1] == target.input

    def takes_file(self, target: Target) -> bool:
        """Whether the input is known to name a file in the server's input folder."""
        return self._replaces(target) or (self.graph[target.node]["class_type"], target.input) in _FILES

    def resolve(self, column: str) -> Target:
        """The input that a column names: TITLE.INPUT, ID.INPUT, a bare INPUT, or video, audio, image for the file of
        the only Load node of that kind, else of the one that takes a demo clip's place. Raises SyncLipError where it
        is none or several, with the names there are."""
        if column in _ALIASES:
            kind, name = _ALIASES[column]
            loaders = [Target(node, name) for node, spec in self.graph.items() if spec["class_type"] == kind]
            loaders = loaders or [Target(node, name) for node, what in self._stand_ins.items() if what == column]
            if len(loaders) == 1 and not is_link(self.value(loaders[0])):
                return loaders[0]
        found = self._names.get(column, [])
        if len(found) == 1:
            return found[0]
        if found:
            wanted = " or ".join(f"{target.node}.{target.input}" for target in found)
            raise SyncLipError(f"column {column!r} fits {len(found)} inputs of {self.path.name}: write {wanted}.")
        raise SyncLipError(
            f"column {column!r} names no input of {self.path.name}. There are: {', '.join(self.names())}."
        )

    def names(self) -> list[str]:
        """A name for every input that a column can fill: by title where that is clear, by id elsewhere."""
        targets = dict.fromkeys(target for found in self._names.values() for target in found)
        titled = [(target, f"{self.title(target.node)}.{target.input}") for target in targets]
        return [name if len(self._names[name]) == 1 else f"{t.node}.{t.input}" for t, name in titled]

    def filled(self, values: dict[Target, Any]) -> Graph:
        """A copy of the graph with these inputs, as the server wants it: without titles."""
        graph = {n: {"class_type": s["class_type"], "inputs": dict(s["inputs"])} for n, s in self.graph.items()}
        for target, value in values.items():
            if self._replaces(target):
                self._load(graph, target, value)
            else:
                graph[target.node]["inputs"][target.input] = value
        return graph

    def _load(self, graph: Graph, target: Target, file: Any) -> None:
        """A file takes a demo clip's place. Where picture and sound are used, each has a loader."""
        kind = self._stand_ins[target.node]
        node, sound = target.node, target.node if kind == "audio" else f"{target.node}-sound"
        for spec in list(graph.values()):
            for name, link in spec["inputs"].items():
                if is_link(link) and link == [node, 1]:
                    spec["inputs"][name] = [sound, 0]
                    graph[sound] = {"class_type": "LoadAudio", "inputs": {"audio": file}}
        if kind == "video":
            graph[node] = {"class_type": "LoadVideo", "inputs": {"file": file}}

    def shape(self) -> str:
        """A hash of the nodes and how they are linked, whatever values they hold."""
        bare = {
            node: [spec["class_type"], {k: v if is_link(v) else None for k, v in spec["inputs"].items()}]
            for node, spec in self.graph.items()
        }
        return digest(bare)


def digest(value: Any) -> str:
    """A hash of anything that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def is_link(value: Any) -> bool:
    """Whether an input comes from another node: [node id, number of the output]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def load_workflow(path: str | Path) -> Workflow:
    """Reads a file in API format. Raises SyncLipError for anything else, with how to export one."""
    path = Path(path)
    try:
        graph = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SyncLipError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise SyncLipError(f"{path}: is not JSON ({error}).") from error
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise SyncLipError(f"{path}: is a workflow in UI format. In ComfyUI, export it with File > Export (API).")
    if not isinstance(graph, dict) or not graph or not all(map(_is_node, graph.values())):
        raise SyncLipError(f"{path}: is no workflow in API format (node ids with class_type and inputs).")
    return Workflow(graph, path)


def _is_node(spec: Any) -> bool:
    return isinstance(spec, dict) and isinstance(spec.get("class_type"), str) and isinstance(spec.get("inputs"), dict)
