"""`synclip`: the command line. Parses, calls a subcommand, turns what it says into an exit code."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from .. import __version__
from ..errors import SyncLipError
from . import align, classify, demo, render, score, tokens, transcribe
from .shared import exit_codes, table


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="synclip",
        description="Is the mouth in sync with the voice, by how much is it off, where, and get it repaired.",
        epilog=exit_codes.HELP + " New here? Run: synclip demo",
    )
    parser.add_argument("--version", action="version", version=f"synclip {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (score, align, transcribe, classify, tokens, render, demo):
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None, *, pipeline: Callable[[argparse.Namespace], Any] | None = None) -> int:
    """Runs one command and returns its exit code (`cli/shared/exit_codes.py`).

    argv: without the program's name; None takes sys.argv. pipeline: makes the pipeline from the parsed options, instead
    of SyncPipeline. Raises SystemExit as argparse does, with 0 after --help and 2 on wrong usage.
    """
    args = build_parser().parse_args(argv)
    args.pipeline = pipeline
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except SyncLipError as error:
        table.write(f"synclip: {error}", sys.stderr)
        return exit_codes.ERROR
    except KeyboardInterrupt:
        table.write("\nsynclip: stopped; nothing half-written was left behind", sys.stderr)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # `synclip score ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.ERROR
    except Exception:  # a fault of ours; Python's own exit code would say "out of sync"
        traceback.print_exc()
        return exit_codes.ERROR
