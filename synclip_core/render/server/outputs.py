"""What a server's history says of a prompt that ended."""

from dataclasses import dataclass, field
from typing import Any

Item = dict[str, str]  # node, filename, subfolder, type

SCORES = (
    "verdict", "lag_frames", "lag_ms", "score", "confidence", "words", "worst_lag_ms", "follows", "drift_ms_per_s",
)  # fmt: skip


@dataclass
class Outcome:
    """error: a sentence, empty on success. memory: it ran out of memory, another try may do. cached: some nodes were
    not run as their results were still there. scores: of the first node that measured sync. seconds: on the server."""

    error: str = ""
    memory: bool = False
    cached: bool = False
    seconds: float | None = None
    files: list[Item] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)


def read_outcome(entry: dict[str, Any]) -> Outcome:
    """entry: the value of /history/<prompt_id>. Versions differ, so nothing but its being a dict is relied on."""
    status = entry.get("status") or {}
    messages = {m[0]: m[1] for m in status.get("messages") or [] if isinstance(m, list) and len(m) == 2}
    result = Outcome(cached=bool((messages.get("execution_cached") or {}).get("nodes")), seconds=_seconds(messages))
    if "execution_error" in messages:
        error = messages["execution_error"]
        kind, said = str(error.get("exception_type")), str(error.get("exception_message")).strip()
        result.error = f"{error.get('node_type')} (node {error.get('node_id')}): {said or kind}"
        result.memory = "OutOfMemory" in kind or kind == "MemoryError" or "out of memory" in said.lower()
    elif "execution_interrupted" in messages:
        result.error = "was interrupted on the server"
    elif status.get("status_str", "success") != "success":
        result.error = "failed on the server, which gives no reason"
    else:
        outputs = entry.get("outputs") or {}
        result.files = [item for node, output in outputs.items() for item in _files(node, output)]
        result.scores = _scores(outputs)
    return result


def _scores(outputs: dict[str, Any]) -> dict[str, Any]:
    for output in outputs.values():
        report = output.get("synclip_report") if isinstance(output, dict) else None
        if report and isinstance(report[0], dict):
            return {name: report[0].get(name) for name in SCORES}
    return {}


def _files(node: str, output: Any) -> list[Item]:
    """Images, videos, sounds, whatever list a node puts them in; each once."""
    found = []
    for items in output.values() if isinstance(output, dict) else ():
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and isinstance(item.get("filename"), str) and item["filename"]:
                place = {key: str(item.get(key) or default) for key, default in (("subfolder", ""), ("type", "output"))}
                found.append({"node": node, "filename": item["filename"], **place})
    return [item for i, item in enumerate(found) if item not in found[:i]]


def _seconds(messages: dict[str, Any]) -> float | None:
    """From start to end by the server's own clock, which stamps both in milliseconds."""
    start = (messages.get("execution_start") or {}).get("timestamp")
    ends = [m.get("timestamp") for name, m in messages.items() if name in ("execution_success", "execution_error")]
    return round((ends[0] - start) / 1000, 3) if start and ends and ends[0] else None
