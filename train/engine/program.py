"""The skeleton of every program in train/: what goes wrong is one line and an exit code, never a traceback."""

import importlib
import os
import sys
from collections.abc import Callable

from synclip_core.errors import SyncLipError

Main = Callable[[list[str] | None], int]

FAILED = 4
INTERRUPTED = 130

# A package that a program lacks -> the extra of pyproject.toml that brings it
EXTRAS = {
    "train": ("yaml", "transformers", "jiwer", "sentencepiece", "skimage"),
    "dubbing": ("diffusers", "accelerate", "peft"),
    "deepspeed": ("deepspeed",),
    "render": ("aiohttp",),
}


def program(content: str, name: str) -> Main:
    """`main` of the program `name`; the module `content` holds the real one and is imported when it is called."""

    def main(arguments: list[str] | None = None) -> int:
        """Run from the command line; returns the exit code."""
        return guarded(name, lambda: importlib.import_module(content).main(arguments))

    return main


def guarded(name: str, work: Callable[[], int | None]) -> int:
    """The exit code of `work`: what it returns (None: 0); 4 and a line on stderr where a user can help, 130 and a line
    after Ctrl-C. Faults of ours go through with their traceback."""
    try:
        return work() or 0
    except SyncLipError as error:
        said, code = str(error), FAILED
    except KeyboardInterrupt:
        said, code = "stopped; run the same command again to go on", INTERRUPTED
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        said, code = f'needs the package {error.name}; install it with pip install ".[{extra}]"', FAILED
    except BrokenPipeError:  # `python -m train.plan | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    print(f"{name}: {said}", file=sys.stderr)
    return code


def extra_of(package: str) -> str | None:
    """The extra that brings `package`; None for what every installation has."""
    top = package.split(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if top in packages), None)
