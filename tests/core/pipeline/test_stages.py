"""Stages on threads: order, bounds, errors and cancellation as on one thread, and nothing left running."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from synclip_core.stages import Ahead, Behind, shared_cores


def wait_until(true: object) -> None:
    for _ in range(200):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def names() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("synclip")]


def test_ahead_keeps_the_order_and_works_no_further_ahead_than_asked() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for k in range(20):
            made.append(k)
            yield k

    ahead = Ahead(source(), 3)
    wait_until(lambda: len(made) == 4)  # three wait, one is in hand
    time.sleep(0.05)
    assert len(made) == 4
    assert list(ahead) == list(range(20)) and next(ahead, None) is None
    wait_until(lambda: not names())


def test_an_error_comes_where_its_item_would_have_been() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken at 2")

    ahead = Ahead(source(), 5)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken at 2"):
        next(ahead)
    assert next(ahead, "over") == "over"


def test_closing_ends_the_thread_and_the_source_though_nobody_takes() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(1)

    ahead = Ahead(source(), 2)
    next(ahead)
    ahead.close()
    ahead.close()
    assert closed == [1] and not names()


def test_behind_answers_in_order_on_the_callers_thread() -> None:
    seen: list[tuple[int, int, str]] = []
    most, waiting = 0, 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal waiting
        time.sleep(0.002 * (item % 3))
        with lock:
            waiting -= 1
        return item * item

    with Behind(work, lambda item, result: seen.append((item, result, threading.current_thread().name)), 2) as behind:
        for k in range(30):
            with lock:
                waiting += 1
            behind.put(k)
            most = max(most, waiting)
    assert seen == [(k, k * k, threading.current_thread().name) for k in range(30)]
    assert most <= 4 and not names()


def test_an_error_behind_is_raised_and_drops_what_waits() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("cannot do 3")
        return item

    with pytest.raises(ValueError, match="cannot do 3"), Behind(work, lambda item, _: done.append(item)) as behind:
        for k in range(100):
            behind.put(k)
    assert done == [0, 1, 2] and not names()


def test_an_error_of_the_caller_leaves_at_once() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), Behind(lambda item: item, lambda item, _: done.append(item), 50) as behind:
        behind.put(1)
        raise KeyboardInterrupt
    assert not names()


def test_cores_are_shared_for_a_while() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        with pytest.raises(ValueError), shared_cores(2):
            assert torch.get_num_threads() == 2
            raise ValueError
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
