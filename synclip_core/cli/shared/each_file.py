"""One file after the other: a progress bar each, and what one does wrong stays in its own answer."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ...errors import SyncLipError
from . import table
from .progress import bar

T = TypeVar("T")


def each_file(
    files: Sequence[str | SyncLipError],
    work: Callable[..., T],
    failed: Callable[[str, Any], T],
) -> list[T]:
    """An answer for every entry of `inputs.expand`, in order: work(file, progress=...), or failed(file, why)."""
    answers: list[T] = []
    for number, file in enumerate(files, 1):
        if isinstance(file, SyncLipError):
            answers.append(failed(getattr(file, "file", ""), file))
            continue
        with bar(f"[{number}/{len(files)}] {table.shorten(Path(file).name, 32)}") as progress:
            answers.append(answer(file, partial(work, progress=progress), failed))
    return answers


def answer(file: str, work: Callable[[str], T], failed: Callable[[str, Any], T]) -> T:
    """work(file), or failed(file, why)."""
    try:
        return work(file)
    except (SyncLipError, OSError, MemoryError) as error:
        return failed(file, str(error) or type(error).__name__)
    except Exception as error:  # a fault of ours; the other files still get their answer
        traceback.print_exc()
        return failed(file, f"{file}: unexpected {type(error).__name__}: {error}")


def out_paths(target: str, suffix: str, files: Sequence[str]) -> list[Path]:
    """Where each file's result goes: `target` itself for one file, else TARGET-NAME (numbered where names repeat)."""
    first = Path(target)
    first = first if first.suffix.lower() == suffix else first.with_name(first.name + suffix)
    if len(files) == 1:
        return [first]
    paths: list[Path] = []
    for file in files:
        name, again = f"{first.stem}-{Path(file).stem}", 1
        while (path := first.with_name(f"{name}{f'-{again}' if again > 1 else ''}{suffix}")) in paths:
            again += 1
        paths.append(path)
    return paths
