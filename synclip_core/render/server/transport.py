"""Requests to one server, and the two ways in which they fail: it does not answer, or it answers that it will not."""

import asyncio
import json
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import SyncLipError

if TYPE_CHECKING:
    import aiohttp

_ANSWER_S = 30.0  # within which a server must answer; a busy node does not block ComfyUI's answers for long
_STALL_S = 300.0  # within which a transfer must go on
AWAY = (502, 503, 504)  # what a proxy says when the server behind it is away


class Unreachable(Exception):
    """The server does not answer, or not as ComfyUI does; it may come back."""


class Refused(Exception):
    """The server answered that it will not do it. status: of HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def need_aiohttp() -> ModuleType:
    """aiohttp, which comes with an extra only. Raises SyncLipError with how to get it."""
    try:
        import aiohttp
    except ImportError as error:
        raise SyncLipError('`synclip render` needs aiohttp: pip install "synclip[render]"') from error
    return aiohttp


def check_url(text: str) -> str:
    """An http(s) address without path's last slash. Raises SyncLipError for anything else."""
    need_aiohttp()
    from yarl import URL

    try:
        url = URL(text)
    except ValueError as error:
        raise SyncLipError(f"server {text!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.query_string:
        raise SyncLipError(f"server {text!r}: expected an address such as http://127.0.0.1:8188")
    return str(url).rstrip("/")


class Transport:
    """url: as `check_url` gives it. trouble: the exceptions that `unreachable` makes Unreachable of."""

    def __init__(self, session: "aiohttp.ClientSession", url: str) -> None:
        self.session, self.url = session, url
        aiohttp = need_aiohttp()
        self.trouble: tuple[type[Exception], ...] = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
        self.answer = aiohttp.ClientTimeout(total=_ANSWER_S)
        self.transfer = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S, sock_read=_STALL_S)

    async def ask(self, method: str, path: Any, **options: Any) -> dict[str, Any]:
        """A JSON object from `path` below the server's address (or a whole yarl.URL). Raises Unreachable, Refused."""
        url = self.url + path if isinstance(path, str) else path
        options = {"timeout": self.answer, "allow_redirects": False, **options}
        try:
            async with self.session.request(method, url, **options) as answer:
                data = await answer.read()
                status, target = answer.status, answer.headers.get("Location")
        except self.trouble as error:
            raise self.unreachable(error) from error
        if status in AWAY:
            raise Unreachable(f"HTTP {status}")
        if 300 <= status < 400:  # never followed: requests go to addresses that the user gave, and nowhere else
            raise Refused(status, f"redirects to {target}; give that address if it is right")
        try:
            said = json.loads(data) if data.strip() else {}
        except ValueError:
            said = None
        if status >= 400:
            raise Refused(status, sentence_of(said) or f"refuses {method} {path} (HTTP {status})")
        if not isinstance(said, dict):
            raise Unreachable(f"does not answer {path} as ComfyUI does")
        return said

    def unreachable(self, error: BaseException) -> Unreachable:
        if isinstance(error, need_aiohttp().ClientConnectorError):
            known = error.errno is not None and error.errno > 0  # those of name look-ups are negative
            return Unreachable(f"cannot connect: {os.strerror(error.errno) if known else error.strerror}")
        return Unreachable(str(error) or f"no answer within {_ANSWER_S:.0f} s")


def sentence_of(said: Any) -> str:
    """What ComfyUI says of a prompt that it refuses, with the nodes at fault."""
    if not isinstance(said, dict):
        return ""
    parts = []
    for node, report in (said.get("node_errors") or {}).items():
        for error in report.get("errors") or []:
            words = ": ".join(part for part in (error.get("message"), error.get("details")) if part)
            parts.append(f"{report.get('class_type')} (node {node}): {words}")
    if not parts and isinstance(error := said.get("error"), dict):
        parts = [": ".join(str(error[k]) for k in ("message", "details") if error.get(k))]
    return "; ".join(parts) or (said["error"] if isinstance(said.get("error"), str) else "")
