"""Progress and cancellation through ComfyUI's own means."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import comfy.model_management
import comfy.utils
import numpy as np
from PIL import Image

T = TypeVar("T")
INTERVAL_S = 0.1  # between two messages to the page
PREVIEW_SIDE = 384


def check_cancel() -> None:
    """Ends the node where the user pressed cancel. Called in every long loop."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def follower() -> Callable[[int, int], None]:
    """progress(done, total) for synclip_core: moves the node's bar and looks for a cancel."""
    bar = Bar()
    return lambda done, total: bar.show(done, total)


def counted(items: Iterable[T], total: int, picture: Callable[[T], np.ndarray] | None = None) -> Iterator[T]:
    """The items, with the node's bar moving along; picture(item): uint8 [H, W, 3] to show meanwhile."""
    bar = Bar()
    for done, item in enumerate(items, 1):
        bar.show(done, max(total, done), None if picture is None else partial(picture, item))
        yield item


def show_result(picture: Image.Image) -> None:
    """The page goes on showing a node's last preview: make that its result, not the last frame seen."""
    comfy.utils.ProgressBar(1).update_absolute(1, 1, ("JPEG", picture, None))


class Bar:
    """The node's bar, with a picture if there is one."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown = 0.0

    def show(self, done: int, total: int, picture: Callable[[], np.ndarray] | None = None) -> None:
        check_cancel()
        now = time.monotonic()
        if done < total and now - self._shown < INTERVAL_S:
            return
        self._shown = now
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        preview = None
        if picture is not None:
            image = Image.fromarray(picture())
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            preview = ("JPEG", image, PREVIEW_SIDE)
        self._bar.update_absolute(done, total, preview)
