"""`synclip tokens`: the token streams of a video, for work of one's own."""

import argparse
import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from ..files.atomic import check_folder
from .shared import exit_codes, table
from .shared.options import add_pipeline_options, make_pipeline
from .shared.progress import bar

if TYPE_CHECKING:
    import numpy as np


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "tokens",
        help="write the token streams (one row a frame at 25 fps)",
        description="Writes the token streams of a video as safetensors, one row a frame at 25 fps.",
        epilog=exit_codes.HELP,
    )
    parser.add_argument("file", metavar="FILE", help="the video")
    parser.add_argument("-o", "--out", required=True, metavar="OUT.safetensors")
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..tokens.token_file import write_tokens

    with contextlib.redirect_stdout(sys.stderr):
        check_folder(args.out)
        pipeline = make_pipeline(args)
        with bar("tokens") as progress:
            found = pipeline.tokens(args.file, progress=progress)
        streams = arrays_of(found)
        write_tokens(args.out, streams, pipeline.checkpoint.sha256, found.faces)
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in streams.items())
    table.write(f"{args.out}: {shapes}")
    return exit_codes.IN_SYNC


def arrays_of(streams: Any) -> "dict[str, np.ndarray]":
    """The arrays and tensors among the fields of a TokenStreams, by name; everything else stays out of the file."""
    import numpy as np

    found: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(streams):
        value = getattr(streams, field.name)
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray):
            found[field.name] = np.ascontiguousarray(value)
    return found
