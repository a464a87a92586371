"""`synclip align`: move the audio so that it fits the mouth; the picture is copied, not encoded again."""

import argparse
import contextlib
import os
import shutil
import sys

from ..errors import SyncLipError
from ..files.atomic import atomic_path, check_folder
from .shared import exit_codes, table
from .shared.options import add_pipeline_options, make_pipeline
from .shared.progress import bar


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "align",
        help="repair the lag without encoding the video again",
        description="Measures the lag along the file and writes a copy whose sound is moved where it is off: as a "
        "whole, in parts, or stretched where it drifts. Nothing is written where it cannot tell or where moving sound "
        "mends nothing. A file that is in sync is copied as it is.",
        epilog=exit_codes.HELP,
    )
    parser.add_argument("file", metavar="FILE", help="the video to repair")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the repaired video")
    parser.add_argument(
        "--lag",
        type=float,
        metavar="FRAMES",
        help="repair this lag (at 25 fps, positive: audio early) and do not measure",
    )
    parser.add_argument(
        "--audio",
        choices=("encode", "copy"),
        default="encode",
        help="encode: move the sound itself, which every player honours; copy: move time stamps only, without any loss",
    )
    parser.add_argument(
        "--tracks",
        choices=("judged", "all"),
        default="judged",
        help="judged: only the sound that was judged moves (default); all: every audio track moves with it",
    )
    parser.add_argument(
        "--retime",
        action="store_true",
        help="mend a drift by the picture's time stamps (frames saved at a wrong rate) instead of the sound's speed",
    )
    parser.add_argument("--check", action="store_true", help="score the result too")
    add_pipeline_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..sync.align import write_aligned
    from ..sync.repair import repair

    if os.path.exists(args.out) and os.path.exists(args.file) and os.path.samefile(args.file, args.out):
        raise SyncLipError(f"{args.out}: is the input itself; give another name, the input is never overwritten")
    check_folder(args.out)
    pipeline = None if args.lag is not None and not args.check else make_pipeline(args)
    all_tracks = args.tracks == "all"
    done = None
    with contextlib.redirect_stdout(sys.stderr):
        if args.lag is not None:
            moved = None if all_tracks else {args.track if isinstance(args.track, int) else 0}
            done = write_aligned(args.file, args.out, args.lag, audio=args.audio, tracks=moved)
        else:
            assert pipeline is not None
            with bar("measure") as progress:
                found = pipeline.score(args.file, progress=progress)
            if found.verdict == "cannot_tell":
                table.write(f"{args.file}: {found.words}. Nothing was written.", sys.stderr)
                return exit_codes.exit_code([found])
            if found.verdict == "in_sync" and _ending(args.file) == _ending(args.out):
                with atomic_path(args.out) as temporary:
                    shutil.copyfile(args.file, temporary)
            elif found.verdict == "in_sync":
                done = write_aligned(args.file, args.out, 0, audio=args.audio, tracks=())
            else:
                try:
                    done = repair(
                        args.file, args.out, found, audio=args.audio, all_tracks=all_tracks, retime=args.retime
                    )
                except SyncLipError as error:
                    table.write(f"{error} Nothing was written.", sys.stderr)
                    return exit_codes.exit_code([found])
    table.write(f"{args.out}: {done.words if done else 'was in sync already, copied as it is'}")
    for note in done.notes if done else []:
        table.write(f"note: {note}", sys.stderr)
    if args.check and pipeline is not None:
        with contextlib.redirect_stdout(sys.stderr), bar("check") as progress:
            after = pipeline.score(args.out, progress=progress)
        after.file = args.out
        table.write("\n" + table.render([after], colour=table.coloured(sys.stdout)))
        return exit_codes.exit_code([after])
    return exit_codes.IN_SYNC


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
