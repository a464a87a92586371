"""Files that are not one constant lag: the recipes of shared/cases, and the same kinds made from clips of the data.

    python -m benchmarks.cases --cases ../shared/cases --files runs/cases --data ../shared/data --cache runs/seen

The recipes run through the pipeline as a user's files do. The made kinds are edits of encoded clips (no decoding), some
hundred in a few minutes. Reported: right or what is wrong for each recipe; recall and precision of stretches for each
kind; alarms over untouched clips of 5 s and more.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synclip_core.metrics.clip_lag import shift_audio
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.along.judge import Timeline, judge
from train.evaluate.clips import Clip
from train.evaluate.sync.cuts import generator_for
from train.evaluate.sync.evidence.trials import own_lags, read_split
from train.evaluate.sync.seen import Seen, tell
from train.evaluate.tables import format_table, write_json

from .case_files.given import GIVEN, make_files, wrong
from .case_files.made import KINDS, Made
from .case_files.scored import Tally, is_damage, tally

LEAST_S = 9.5  # of a clip that is damaged: 3 s before and after the damage
Clips = Mapping[str, tuple[Clip, Seen]]


def judge_recipes(cases: Path, files: Path, model: Path | None) -> list[dict[str, Any]]:
    """A row a recipe: what was said, and what is wrong with it."""
    make_files(cases, files)
    first = SyncPipeline(model)
    rows = []
    for given in GIVEN:
        pipeline = SyncPipeline(first.checkpoint, face=given.face)
        report = pipeline.score(files / given.file)
        faults = wrong(given, report)
        name = given.file.split(".")[0] + ("" if given.face == "auto" else f" --face {given.face}")
        rows.append(
            {"case": name, "right": "yes" if not faults else "NO", "words": report.words, "wrong": "; ".join(faults)}
        )
        print(
            f"{'right' if not faults else 'WRONG':6}{name}: {report.words} {faults or ''}", file=sys.stderr, flush=True
        )
    return rows


def level(pipeline: SyncPipeline, clips: Clips) -> dict[str, tuple[Clip, Seen]]:
    """Clips with a lag of their own that is clear, which is taken off."""
    lags = own_lags(pipeline, clips, pipeline.checkpoint.evidence.margin)
    return {f: (c, s.sound(shift_audio(s.waveform, -lags[f]))) for f, (c, s) in clips.items() if f in lags}


def chains(clips: Clips) -> dict[str, tuple[Clip, Seen]]:
    """Clips too short for stretches, three of one speaker in a row, as an edit shows them."""
    groups: dict[str, list[tuple[Clip, Seen]]] = {}
    for clip, seen in clips.values():
        if len(seen) / 25 < 5 and clip.trusted:
            groups.setdefault(clip.subset + clip.identity.split("/")[0], []).append((clip, seen))
    made = {}
    for members in groups.values():
        for k in range(0, len(members) - 3, 4):
            part = [seen for _, seen in members[k : k + 4]]
            whole = Seen(
                *(np.concatenate([getattr(s, n) for s in part]) for n in ("frames", "valid", "look", "waveform"))
            )
            made[f"chain {members[k][0].file}"] = (members[k][0], whole)
    return made


def make_cases(clips: Clips, seed: int, each: int) -> Iterator[Made]:
    """`each` of every kind from every clip that is long enough."""
    for file, (clip, seen) in clips.items():
        if len(seen) / 25 < LEAST_S:
            continue
        part = seen if len(seen) <= 750 else seen.cut(0, 750)
        others = {f: s for f, (c, s) in clips.items() if c.identity != clip.identity and f != file}
        for kind, damage in KINDS.items():
            for turn in range(each):
                draw = generator_for(seed, file, kind, str(turn))
                damaged, truth = damage(part, others, draw)
                yield Made(kind, f"{file} {turn}", damaged, truth)


def windows(clips: Clips) -> Iterator[tuple[str, Seen]]:
    """Untouched clips of 5 s and more: the whole, and its parts of 5 and of 10 s."""
    for file, (_, seen) in clips.items():
        if len(seen) >= 125:
            yield file, seen
        for ticks in (125, 250):
            for start in range(0, len(seen) - ticks + 1, ticks):
                if len(seen) > ticks:
                    yield f"{file} {start / 25:g} s", seen.cut(start, ticks)


def told_of(pipeline: SyncPipeline, seen: Seen) -> Timeline:
    told = tell(pipeline, seen)
    evidence = pipeline.checkpoint.evidence
    return judge(told.audio, told.vocal, told.valid, told.speech, told.look, evidence=evidence)


def judge_made(
    pipeline: SyncPipeline, clips: Clips, seed: int, each: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the kinds, and every clip that was not answered rightly."""
    totals: dict[str, Tally] = {}
    missed = []
    for made in make_cases(clips, seed, each):
        found = told_of(pipeline, made.seen)
        kind = made.kind
        if made.kind == "drift":
            kind = f"drift, {abs(made.truth[0].slope):.2%}" if made.truth else "drift, under a frame"
        for name in dict.fromkeys([made.kind, kind]):
            right = tally(totals.setdefault(name, Tally()), made.truth, found.stretches)
        if not right:
            missed.append(
                {"kind": made.kind, "clip": made.name, "truth": str(made.truth), "words": found.words}
                | {"stretches": [s.to_dict() for s in found.stretches]}
            )
    return [totals[kind].row(kind) for kind in sorted(totals)], missed


def false_alarms(pipeline: SyncPipeline, clips: Clips) -> dict[str, Any]:
    """Untouched clips: how many are told to be wrong, or cannot be told."""
    count, hours, alarms, silent = 0, 0.0, [], 0
    for name, seen in windows(clips):
        found = told_of(pipeline, seen)
        count, hours = count + 1, hours + len(seen) / 90000
        silent += found.verdict == "cannot_tell"
        if found.verdict not in ("in_sync", "cannot_tell") or any(is_damage(s) for s in found.stretches):
            alarms.append(f"{name}: {found.words}")
    rate = round(len(alarms) / hours, 2) if hours else None
    return {
        "clips": count,
        "hours": round(hours, 3),
        "alarms": len(alarms),
        "an hour": rate,
        "cannot tell": silent,
        "which": alarms,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, help="folder of recipes; they need ffmpeg and espeak-ng")
    parser.add_argument(
        "--files", type=Path, default=Path("runs/cases"), help="where recipes write (default: runs/cases)"
    )
    parser.add_argument("--data", type=Path, help="folder with clips.csv: also judge damage made from its clips")
    parser.add_argument("--splits", nargs="+", default=["val", "test"], help="of clips.csv (default: val test)")
    parser.add_argument("--cache", type=Path, help="folder that keeps encoded clips")
    parser.add_argument("--checkpoint", type=Path, help="weights to judge by; the bundled ones if not given")
    parser.add_argument("--each", type=int, default=1, help="of each kind from a clip (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the report here as JSON")
    args = parser.parse_args(argv)
    report: dict[str, Any] = {}
    if args.cases:
        report["recipes"] = judge_recipes(args.cases, args.files, args.checkpoint)
        print(format_table("Recipes", report["recipes"]))
    if args.data:
        pipeline = SyncPipeline(args.checkpoint)
        for split in args.splits:
            clips = level(pipeline, read_split(pipeline, args.data, split, args.cache))
            clips |= chains(clips)
            rows, missed = judge_made(pipeline, clips, args.seed, args.each)
            calm = false_alarms(pipeline, clips)
            report[split] = {"kinds": rows, "missed": missed, "untouched": calm}
            print(
                format_table(
                    f"\nMade from {split}, {sum(len(s) / 25 >= LEAST_S for _, s in clips.values())} clips", rows
                )
            )
            print("untouched clips of 5 s and more:", {k: v for k, v in calm.items() if k != "which"})
            print("\n".join(calm["which"]))
    if args.out:
        write_json(args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
