"""`synclip transcribe`: read the lips, without the sound."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import SyncLipError
from ..files.atomic import atomic_path, check_folder
from .shared import exit_codes, table
from .shared.each_file import each_file, out_paths
from .shared.inputs import expand
from .shared.options import add_pipeline_options, make_pipeline, positive

if TYPE_CHECKING:
    from ..pipeline import SyncPipeline
    from ..reading.reader_file import Reader
    from ..reading.transcript import Transcript

HELP = (
    "exit codes: 0 all read, 2 wrong usage, 3 some unsure or nothing to read, 4 some failed, 130 stopped by Ctrl-C. "
    "With several files the worst counts."
)
_CODES = {"read": exit_codes.IN_SYNC, "unsure": exit_codes.CANNOT_TELL, "nothing": exit_codes.CANNOT_TELL}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "transcribe",
        help="read the lips: what is said, without the sound",
        description="Says what is said in each video, from the lips alone. The bundled reader knows the 51 words of "
        "GRID's English commands and nothing else; --reader takes another one (train/finetune_vsr.py).",
        epilog=HELP,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="videos, folders (searched through) or patterns")
    parser.add_argument("--srt", metavar="OUT.srt", help="also write subtitles; several files give OUT-NAME.srt")
    parser.add_argument("--json", action="store_true", help="one JSON array on stdout, an object per file")
    parser.add_argument("--reader", metavar="FILE", help="a lip reader (.safetensors) instead of the bundled one")
    parser.add_argument("--beam", type=positive, metavar="N", help="texts followed at once; 1 is fastest (default: 8)")
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    files = expand(args.files)
    if args.srt:
        check_folder(args.srt)
    with contextlib.redirect_stdout(sys.stderr):
        found = read_files(args, files)
    if args.json:
        print(json.dumps([transcript.to_json() for transcript in found], allow_nan=False))
    else:
        for transcript in found:
            table.write(_line(transcript))
    if args.srt:
        for transcript, path in zip(found, out_paths(args.srt, ".srt", [t.file for t in found]), strict=True):
            with atomic_path(path) as temporary:
                temporary.write_text(transcript.to_srt(), encoding="utf-8")
            table.write(f"subtitles: {path}", sys.stderr)
    return max(_CODES.get(transcript.verdict, exit_codes.ERROR) for transcript in found) if found else 0


def read_files(args: argparse.Namespace, files: list[str | SyncLipError]) -> "list[Transcript]":
    """A transcript for every entry of `expand`, in order; what a file does wrong stays in its own."""
    from ..reading.transcript import Transcript

    tools: tuple[SyncPipeline, Reader] | None = None

    def read(file: str, progress: Callable[..., None]) -> Transcript:
        nonlocal tools
        tools = tools or _tools(args)  # once, and only when there is a file to look at
        pipeline, reader = tools
        options = replace(reader.search, beam=args.beam) if args.beam else None
        return pipeline.transcribe(file, reader, progress=progress, options=options)

    return each_file(files, read, Transcript.failed)


def _tools(args: argparse.Namespace) -> "tuple[SyncPipeline, Reader]":
    pipeline = make_pipeline(args)  # sets the threads, imports torch
    from ..reading.reader_file import load_reader

    reader = load_reader(args.reader)
    reader.check(pipeline.checkpoint.sha256)
    return pipeline, reader


def _line(transcript: "Transcript") -> str:
    if transcript.verdict == "error":
        note = transcript.note
        return note if note.startswith(transcript.file) else f"{transcript.file}: {note}"
    sure = "" if transcript.confidence is None else f"(confidence {transcript.confidence:.2f})"
    note = f"[{transcript.note}]" if transcript.note else ""
    return f"{transcript.file}: " + "  ".join(filter(None, (transcript.text, sure, note)))
