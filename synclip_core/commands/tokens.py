"""`synclip tokens`: the token streams of a video, for work of one's own."""

import argparse
import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from . import exit_codes, table
from .atomic import atomic_path, check_folder
from .options import add_pipeline_options, make_pipeline

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
    from safetensors.numpy import save

    with contextlib.redirect_stdout(sys.stderr):
        check_folder(args.out)
        streams = arrays_of(make_pipeline(args).tokens(args.file))
        with atomic_path(args.out) as temporary:
            temporary.write_bytes(save(streams, metadata={"format": "np", "fps": "25"}))
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
