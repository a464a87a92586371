"""Work in stages on threads, with little waiting between them. Order is kept, so the outcome is that of one thread.

PyAV, torch and Pillow let go of the interpreter's lock while they work; two stages keep two cores busy.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Ahead(Iterator[T], Generic[T]):
    """What `source` yields, made on a thread of its own, at most `most` items ahead of who takes them.

    An error of the source is raised where its item would have come. close() ends the thread and closes the source.
    """

    def __init__(self, source: Iterator[T], most: int) -> None:
        self._source = source
        self._ready: queue.Queue[tuple[str, Any]] = queue.Queue(most)
        self._stopped = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="synclip-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self._source:
                self._ready.put(("item", item))
                if self._stopped.is_set():
                    return
            self._ready.put(("end", None))
        except BaseException as error:
            self._ready.put(("error", error))

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        kind, value = self._ready.get()
        if kind == "item":
            return value
        self._ended = True
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """May be called at any time, and again."""
        self._ended = True
        self._stopped.set()
        while self._thread.is_alive():  # it may wait for room
            try:
                self._ready.get(timeout=0.02)
            except queue.Empty:
                pass
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class Behind(Generic[T, R]):
    """`work(item)` on a thread of its own, one item after the other, `done(item, result)` on the caller's, in order.

    At most `most` items wait. An error of `work` is raised by the put or the finish that meets it; leaving the `with`
    block by an error drops what waits.
    """

    def __init__(self, work: Callable[[T], R], done: Callable[[T, R], None], most: int = 2) -> None:
        self._work, self._done, self._most = work, done, most
        self._pool = ThreadPoolExecutor(1, "synclip-behind")
        self._waiting: deque[tuple[T, Future[R]]] = deque()

    def put(self, item: T) -> None:
        while self._waiting and (len(self._waiting) >= self._most or self._waiting[0][1].done()):
            self._take()
        self._waiting.append((item, self._pool.submit(self._work, item)))

    def _take(self) -> None:
        item, future = self._waiting.popleft()
        self._done(item, future.result())

    def __enter__(self) -> "Behind[T, R]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._take()
        finally:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def shared_cores(stages: int) -> Iterator[None]:
    """torch computes on its share of the cores while that many stages do, so that they do not wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // stages))
    try:
        yield
    finally:
        torch.set_num_threads(before)
