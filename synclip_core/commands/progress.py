"""Progress on stderr: a bar a file, or one over all rows; gone when done, and none where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from . import table


@contextmanager
def bar(label: str) -> Iterator[Callable[[float, float], None]]:
    """Yields `progress(done, total)` for `SyncPipeline.score`."""
    with tqdm(desc=label, unit="f", leave=False, disable=None, dynamic_ncols=True) as line:

        def progress(done: float, total: float) -> None:
            line.total = total
            line.update(done - line.n)

        yield progress


@contextmanager
def row_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields `progress(done, total, doing)` for a batch; doing: what goes on at the moment."""
    with tqdm(desc=label, unit="row", leave=False, disable=None, dynamic_ncols=True) as line:

        def progress(done: int, total: int, doing: str) -> None:
            line.total = total
            line.set_postfix_str(doing, refresh=False)
            line.update(done - line.n)

        yield progress


def say(text: str) -> None:
    """A sentence on stderr, above the bar where there is one."""
    with tqdm.external_write_mode(file=sys.stderr):
        table.write(text, sys.stderr)
