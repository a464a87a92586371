"""Real files made worse by real codecs, rooms, noise and hands before the face: is the lag still found?

    python -m benchmarks.robustness --data ../shared/data --split test --out robustness.json
        [--checkpoint FILE] [--against FILE] [--unseen 29] [--seen 10] [--only REGEX] [--cache FOLDER]

Clips of trusted sync; of each a known lag in [-12, 12] frames is drawn once and given to all its variants. Every
variant is a file, read as a user's is: decoded, faces found and followed, judged. Reported of a variant: how many
estimates are within a frame whatever their confidence (`right`), how many files are answered (a verdict other than
cannot_tell), how many of the answers are right and wrong, and how many estimates are wrong and at lag 0 +-1, where
nothing but the ends of a clip can have drawn them. `unseen`: people that no training clip shows. Files stay in the
cache, a folder for each state of the code, and are used again; --against scores the same files with a second
checkpoint.
"""

import argparse
import csv
import json
import re
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.worse.files import Source, code_state, make_file, slug, variants
from synclip_core.checkpoint import BUNDLED
from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import atomic_path
from synclip_core.media.audio import read_audio
from synclip_core.metrics.clip_lag import MAX_SHIFT, draw_shift
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.measure import SyncResult
from synclip_core.sync.verdict import CANNOT_TELL

OTHERS = 4  # voices of a babble
KINDS = ("right", "wrong_at_zero", "answered", "answered_right")  # of a row of the report, each true or false


# ---- scoring ----------------------------------------------------------------------------------------------------


class Judge(SyncPipeline):
    """The pipeline of a user, which sees a picture once where several files of a clip show the same."""

    picture: tuple = ()
    last: SyncResult

    def _seen(self, *arguments: Any, **named: Any) -> Any:
        if getattr(self, "_known", None) != self.picture:
            self._found, self._known = super()._seen(*arguments, **named), self.picture
        return self._found

    def _judge(self, *arguments: Any) -> SyncResult:
        self.last = super()._judge(*arguments)
        return self.last


def judged(judge: Judge, path: Path, picture: tuple, shift: int) -> dict[str, Any]:
    """picture: what tells it from others."""
    judge.picture = picture
    try:
        report = judge.score(path)
    except SyncLipError as error:
        return {"verdict": "error", "error": str(error), **dict.fromkeys(KINDS, False)}
    lag = judge.last.best_lag_frames
    right, answered = lag is not None and abs(lag - shift) <= 1, report.verdict != CANNOT_TELL
    confidence = report.confidence
    return {
        "verdict": report.verdict,
        "best_lag": lag,
        "confidence": None if confidence is None else round(confidence, 4),
        "face_s": round(judge.last.face_s, 2),
        "right": right,
        "wrong_at_zero": lag is not None and not right and abs(lag) <= 1,
        "answered": answered,
        "answered_right": answered and abs(report.lag_frames - shift) <= 1,
    }


def counts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    confidences = [row["confidence"] for row in rows if row.get("confidence") is not None]
    found = {kind: sum(row[kind] for row in rows) for kind in KINDS}
    return {
        "files": len(rows),
        **found,
        "answered_wrong": found["answered"] - found["answered_right"],
        "mean_confidence": round(float(np.mean(confidences)), 4) if confidences else None,
    }


def summarised(
    rows: Sequence[dict[str, Any]], checkpoints: Iterable[str], key: Callable[[dict], str]
) -> dict[str, Any]:
    """name -> checkpoint -> group -> counts."""
    by_name: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_name[key(row)].append(row)
    return {
        name: {
            checkpoint: {
                group: counts([r for r in some if r["checkpoint"] == checkpoint and group in ("all", r["group"])])
                for group in ("all", "unseen", "seen")
            }
            for checkpoint in checkpoints
        }
        for name, some in by_name.items()
    }


def table(summary: dict[str, Any], checkpoints: Sequence[str]) -> str:
    """Shares of all files in percent, Markdown."""
    names = (*KINDS, "answered_wrong")
    heads = [f"{name.replace('_', ' ')}, {checkpoint}" for name in names for checkpoint in checkpoints]
    lines = [f"| variant | files | {' | '.join(heads)} |", f"|---|{'---|' * (len(heads) + 1)}"]
    for variant, row in summary.items():
        cells = [row[c]["all"][name] / max(row[c]["all"]["files"], 1) for name in names for c in checkpoints]
        files = row[checkpoints[0]]["all"]["files"]
        lines.append(f"| {variant} | {files} | {' | '.join(f'{100 * cell:.0f}' for cell in cells)} |")
    return "\n".join(lines)


# ---- the sample -------------------------------------------------------------------------------------------------


def sample(data: Path, split: str, unseen: int, seen: int, seed: int) -> list[dict[str, str]]:
    """Real clips of trusted sync, in an order drawn once; `group` says whether training shows their people.

    Raises SyncLipError where there are none.
    """
    with open(data / "clips.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = {row["identity"] for row in rows if row["split"] == "train"}
    rows = [r for r in rows if (r["split"], r["kind"], r["sync"]) == (split, "real", "trusted")]
    rows.sort(key=lambda row: zlib.crc32(f"{seed} {row['file']}".encode()))
    groups = {"unseen": [], "seen": []}  # type: dict[str, list[dict[str, str]]]
    for row in rows:
        group = "seen" if row["identity"] in trained else "unseen"
        groups[group].append({**row, "group": group})
    chosen = groups["unseen"][:unseen] + groups["seen"][:seen]
    if not chosen:
        raise SyncLipError(f"{data}: no real clips of trusted sync in split {split!r}")
    return chosen


def other_voices(data: Path, rows: Sequence[dict[str, str]], row: dict[str, str]) -> list[np.ndarray]:
    """Sounds of clips of other people in the sample, the next ones in its order."""
    place = rows.index(row)
    others = [r for r in (*rows[place:], *rows[:place]) if r["identity"] != row["identity"]]
    return [read_audio(data / other["file"]) for other in others[:OTHERS]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.csv")
    parser.add_argument("--split", default="test")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED, help="default: the package's own")
    parser.add_argument("--against", type=Path, help="a second checkpoint, scored on the same files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unseen", type=int, default=29, help="clips of people that training does not show")
    parser.add_argument("--seen", type=int, default=10, help="and of those that it does")
    parser.add_argument("--only", default="", help="families or variants that match this regular expression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "synclip-robustness")
    options = parser.parse_args()
    clips = sample(options.data, options.split, options.unseen, options.seen, options.seed)
    chosen = [v for v in variants() if re.search(options.only, f"{v.family}: {v.name}")]
    files = {"checkpoint": options.checkpoint} | ({"against": options.against} if options.against else {})
    judges = {name: Judge(path, device=options.device) for name, path in files.items()}
    cache = options.cache / f"{code_state()}-{options.split}-{options.seed}-{len(clips)}"
    rows: list[dict[str, Any]] = []
    for row in tqdm(clips, unit="clip", mininterval=10):
        folder = cache / slug(row["file"])
        folder.mkdir(parents=True, exist_ok=True)
        source = Source(options.data / row["file"], lambda row=row: other_voices(options.data, clips, row))
        shift = draw_shift(np.random.default_rng((options.seed, zlib.crc32(row["file"].encode()))), MAX_SHIFT)
        for variant in sorted(chosen, key=lambda v: (v.picture, v.speed)):
            path = make_file(source, variant, shift, options.seed, folder)
            about = {"file": row["file"], "group": row["group"], "shift": shift}
            about |= {"family": variant.family, "variant": variant.name}
            for name, judge in judges.items():
                found = judged(judge, path, (row["file"], variant.picture, variant.speed), shift)
                rows.append({**about, "checkpoint": name, **found})
    order = {variant.name: index for index, variant in enumerate(chosen)}
    rows.sort(key=lambda r: order[r["variant"]])
    by_variant = summarised(rows, files, lambda r: f"{r['family']}: {r['variant']}")
    by_family = summarised(rows, files, lambda r: r["family"])
    report = {
        "data": str(options.data),
        "split": options.split,
        "seed": options.seed,
        "clips": {group: sum(row["group"] == group for row in clips) for group in ("unseen", "seen")},
        "checkpoints": {n: {"file": str(p), "sha256": judges[n].checkpoint.sha256} for n, p in files.items()},
        "families": by_family,
        "variants": by_variant,
        "rows": rows,
    }
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(table(by_family, list(files)), table(by_variant, list(files)), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
