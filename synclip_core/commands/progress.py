"""One progress bar a file, on stderr, gone when the file is done, and none where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def bar(label: str) -> Iterator[Callable[[float, float], None]]:
    """Yields `progress(done, total)` for `SyncPipeline.score`."""
    with tqdm(desc=label, unit="f", leave=False, disable=None, dynamic_ncols=True) as line:

        def progress(done: float, total: float) -> None:
            line.total = total
            line.update(done - line.n)

        yield progress
