"""Options that several subcommands share, and the pipeline that they set up."""

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import SyncLipError

if TYPE_CHECKING:
    from ...pipeline import SyncPipeline

T = TypeVar("T")
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


def track_choice(text: str) -> "int | str | None":
    """argparse type, see sync.voice."""
    from ...sync.along.voice import parse_track

    return _checked(parse_track, text)


def tolerance_choice(text: str) -> Any:
    """argparse type, see sync.tolerance."""
    from ...sync.along.tolerance import parse_tolerance

    return _checked(parse_tolerance, text)


def still_choice(text: str) -> str:
    """argparse type, see sync.still."""
    from ...sync.still import parse_still

    return _checked(parse_still, text)


def _checked(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except SyncLipError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
    group.add_argument(
        "--max-lag",
        type=positive,
        default=15,
        metavar="FRAMES",
        help="lags of 5 s are searched always, up to FRAMES (at 25 fps) where that is more; the curve shows this many",
    )
    group.add_argument(
        "--track",
        type=track_choice,
        metavar="N",
        help="audio track to judge, from 0, or best: that which fits a face best (default: that which players play, or "
        "the next one where it holds no speech)",
    )
    group.add_argument(
        "--tolerance",
        type=tolerance_choice,
        metavar="RULE",
        help="what counts as in sync: ebu-r37 (40 ms early to 60 late), itu-r-bt1359 (90, 185), "
        "itu-r-bt1359-detectable (45, 125), frame (40, 40), or EARLY,LATE in ms (default: ebu-r37)",
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

    options: dict[str, Any] = {"model": args.model, "face": args.face, "missing": args.missing, "max_lag": args.max_lag}
    options |= {"audio_track": args.track} | ({"tolerance": args.tolerance} if args.tolerance else {})
    if args.device:
        options["device"] = args.device
    return SyncPipeline(**options)
