"""Progress on stderr: a bar a file, or one over all rows; gone when done, and none where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from . import table


@contextmanager
def bar(label: str, unit: str = "f") -> Iterator[Callable[..., None]]:
    """Yields `progress(done, total, doing="")`, as `SyncPipeline.score` calls it; doing: what goes on at the moment."""
    with tqdm(desc=label, unit=unit, leave=False, disable=None, dynamic_ncols=True) as line:

        def progress(done: float, total: float, doing: str = "") -> None:
            line.total = total
            line.set_postfix_str(doing, refresh=False)
            line.update(done - line.n)

        yield progress


def say(text: str) -> None:
    """A sentence on stderr, above the bar where there is one."""
    with tqdm.external_write_mode(file=sys.stderr):
        table.write(text, sys.stderr)
