"""Work on processes of its own: what kills one costs the item in its hands and nothing else."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any


class _Worker:
    """One process and the item that it works on."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.line, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, make), daemon=True)
        # Ctrl-C reaches the whole group: only this process answers it, and ends the others
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            self.process.start()
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
        theirs.close()
        self.item: Any = None
        self.busy = False

    def give(self, item: Any) -> None:
        self.item, self.busy = item, True
        try:
            self.line.send(item)
        except OSError:
            pass  # it is gone; waiting for its answer will tell

    def answer(self) -> tuple[Any, str | None]:
        """(result, None), or (None, how the process ended)."""
        self.busy = False
        try:
            return self.line.recv(), None
        except (EOFError, OSError):
            self.process.join()
            return None, _ending(self.process.exitcode)

    def stop(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.join()


def _serve(line: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    """In the process: items in, results out, until the other end is closed."""
    work = make()
    while True:
        try:
            item = line.recv()
        except EOFError:
            return
        line.send(work(item))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"its process was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"its process was ended by signal {-code}"
    return f"its process ended with exit code {code}"


def results(
    make: Callable[[], Callable[[Any], Any]], items: Iterable[Any], jobs: int
) -> Generator[tuple[Any, Any, str | None], None, None]:
    """(item, result, None) as they come, or (item, None, why) where the process of an item ended.

    make: called once in each process, gives what is called with each item; both, items and results are pickled.
    An item is in one process's hands at a time; nothing is kept. Leaving early ends the processes.
    """
    waiting = iter(items)
    workers: list[_Worker] = []
    try:
        while True:
            _hand_out(make, waiting, workers, jobs)
            if not workers:
                return
            ready = wait([worker.line for worker in workers])
            for worker in [worker for worker in workers if worker.line in ready]:
                result, ending = worker.answer()
                if ending is not None:
                    worker.stop()
                    workers.remove(worker)
                yield worker.item, result, ending
    finally:
        for worker in workers:
            worker.stop()


def _hand_out(
    make: Callable[[], Callable[[Any], Any]], waiting: Iterator[Any], workers: list[_Worker], jobs: int
) -> None:
    """An item to each free worker; workers are started as long as there are items, and ended when there are none."""
    for worker in [worker for worker in workers if not worker.busy]:
        for item in waiting:
            worker.give(item)
            break
        else:
            worker.stop()
            workers.remove(worker)
    while len(workers) < jobs:
        for item in waiting:
            workers.append(_Worker(make))
            workers[-1].give(item)
            break
        else:
            return
