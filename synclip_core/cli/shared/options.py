"""Options that several subcommands share, and the pipeline that they set up."""

import argparse
import re
from typing import TYPE_CHECKING, Any

from ...errors import SyncLipError

if TYPE_CHECKING:
    from ...pipeline import SyncPipeline

MISSING = ("hold", "interpolate", "skip", "error")


def face_choice(text: str) -> str:
    """argparse type: a choice as `media.selection.parse_choice` reads it, checked early: a typo is wrong usage."""
    if text in ("auto", "speaker"):  # spares the import
        return text
    from ...faces.selection import parse_choice

    try:
        parse_choice(text)
    except SyncLipError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def positive(text: str) -> int:
    """argparse type: a whole number of at least 1."""
    if not re.fullmatch(r"\d+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def not_negative(text: str) -> int:
    """argparse type: a whole number of at least 0."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to look")
    group.add_argument(
        "--face",
        type=face_choice,
        default="auto",
        metavar="CHOICE",
        help="which face: auto (the main one), largest, longest, speaker (who is in sync), an index (0 is the leftmost "
        "face) or a point X,Y in pixels (default: auto)",
    )
    group.add_argument(
        "--missing", choices=MISSING, default="hold", help="what to do where the face is not seen (default: hold)"
    )
    group.add_argument("--model", metavar="FILE", help="a checkpoint (.safetensors) instead of the bundled one")
    group.add_argument("--device", help="cpu, cuda, mps, ... (default: cpu)")
    group.add_argument("--threads", type=positive, metavar="N", help="CPU threads to use (default: all)")


def make_pipeline(args: argparse.Namespace) -> "SyncPipeline":
    """The pipeline that `args` asks for. Imports torch, which is why it is not done before it is needed."""
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    if args.pipeline is not None:  # given by the caller of `main`
        return args.pipeline(args)
    from ...pipeline import SyncPipeline

    options: dict[str, Any] = {"model": args.model, "face": args.face, "missing": args.missing}
    if args.device:
        options["device"] = args.device
    return SyncPipeline(**options)
