"""`python -m train.prepare --data DIR --out SHARDS`: videos -> face-crop shards, resumable, with a report of refusals.

DIR holds a clips.csv (file, split, sync, identity, source, licence, sound, ...), or just videos, which then form the
split "train" with a subject each, or with --layout a corpus as published. A shard is made of the same videos each time,
so a finished one is skipped on the next run. --processes works on several shards at once; over machines, give each a
--part (under Slurm: --part $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT with --array 0-63).
"""

import argparse
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.crop import decode_side
from synclip_core.faces.track_output import TrackChunk
from synclip_core.faces.tracking import FaceTracker, TrackOptions
from synclip_core.files.table import read_rows
from synclip_core.follow import FacePass
from synclip_core.media.audio import read_audio
from synclip_core.media.info import probe
from train.data.clip import Clip
from train.data.corpora import CORPORA, corpus_rows
from train.data.shards import encode_sample, write_shard
from train.evaluate.tables import write_json

FACE, MARGIN = 112, 1 / 14  # pixels of face, and room around it for geometric jitter
WHOLE = 14  # faces of a multiple of it have a whole and even number of pixels with their margin
SEGMENT, SHORTEST = 150, 25  # ticks of a sample
VIDEOS_A_SHARD = 64
SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg"}


def list_videos(folder: Path) -> list[dict[str, Any]]:
    """Rows with file, split, kind, sync, subject, source, licence. Raises SyncLipError when there is nothing."""
    table = folder / "clips.csv"
    if table.is_file():
        rows = read_rows(table, ("file", "split"))
        if not rows:
            raise SyncLipError(f"{table}: names no video")
        return [
            {
                "file": row["file"],
                "split": row["split"],
                "kind": row.get("kind") or "real",
                "sync": row.get("sync") or "unknown",
                "source": row.get("source") or Path(row["file"]).parts[0],
                "subject": row.get("identity") or Path(row["file"]).parts[0],
                "licence": row.get("licence") or "",
                **({"sound": row["sound"]} if row.get("sound") else {}),
            }
            for row in rows
        ]
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise SyncLipError(f"{folder}: neither clips.csv nor videos here")
    names = [str(p.relative_to(folder)) for p in files]
    common = {"split": "train", "kind": "real", "sync": "unknown", "source": folder.name, "licence": ""}
    return [{"file": name, "subject": name, **common} for name in names]


def video_samples(folder: Path, row: dict[str, Any], face: int = FACE) -> list[Clip]:
    """The main face of a video as samples of about SEGMENT ticks. Raises SyncLipError when there is nothing to use."""
    path, sound = folder / row["file"], folder / row.get("sound", row["file"])
    if not probe(sound).has_audio:
        raise SyncLipError("no audio track")
    with FacePass(path, _tracker(face), decode_side(face), parts=True) as faces:
        chunks = list(faces)
    chosen = faces.choose("auto")
    if not chosen:
        raise SyncLipError("no face found")
    audio = read_audio(sound)
    samples = [s for track in chosen for s in track_samples([c for c in chunks if c.track_id == track], audio, row)]
    if not samples:
        raise SyncLipError(f"no face for {SHORTEST / 25:.0f} s on end")
    return samples


def track_samples(chunks: list[TrackChunk], audio: np.ndarray, row: dict[str, Any]) -> list[Clip]:
    """One face track cut into samples of equal length."""
    ticks, crops, valid = (np.concatenate([getattr(c, n) for c in chunks]) for n in ("ticks", "crops", "valid"))
    transforms, landmarks = (np.concatenate([getattr(c, n) for c in chunks]) for n in ("transforms", "landmarks"))
    canonical = geometry.apply(geometry.invert(transforms), landmarks)
    points, regions = canonical[:, geometry.GEOMETRY_POINTS], canonical[:, geometry.REGION_POINTS]
    parts = max(1, round(len(ticks) / SEGMENT))
    edges = np.linspace(0, len(ticks), parts + 1).astype(int)
    samples = []
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        if end - begin < SHORTEST or valid[begin:end].mean() < 0.5:
            continue
        first = int(ticks[begin])
        key = f"{Path(row['file']).with_suffix('')}_{first:06d}"
        for character in "./\\ ":
            key = key.replace(character, "_")
        sound = np.zeros((end - begin) * 640, np.float32)
        heard = audio[first * 640 : first * 640 + len(sound)]
        sound[: len(heard)] = heard
        meta = {**row, "start_s": first / 25, "offset": 0, "offset_confidence": 1.0}
        shown = slice(begin, end)
        samples.append(Clip(key, crops[shown], points[shown], valid[shown], sound, MARGIN, meta, None, regions[shown]))
    return samples


@dataclass(frozen=True)
class Group:
    """The videos of one shard, of one split; `start` is the first one's number in it. face: of its crops, pixels."""

    split: str
    start: int
    rows: list[dict[str, Any]]
    corpus: str = ""
    face: int = FACE

    @property
    def name(self) -> str:
        """Of its shard; corpora may share a folder."""
        return f"{self.corpus}-{self.split}-{self.start:06d}".lstrip("-")


def write_group(folder: Path, out: Path, group: Group) -> dict[str, Any]:
    """The shard of a group and the notes beside it, unless both are there; returns the notes."""
    shard = out / f"{group.name}.tar"
    notes = shard.with_suffix(".json")
    if shard.exists() and notes.exists():
        kept = json.loads(notes.read_text(encoding="utf-8"))
        if kept.get("face", FACE) != group.face:
            raise SyncLipError(f"{shard}: holds faces of {kept.get('face', FACE)} pixels; choose another --out folder")
        return kept
    samples: dict[str, dict[str, bytes]] = {}
    kept = {"samples": 0, "ticks": 0, "face": group.face, "refused": {}}
    for row in group.rows:
        try:
            for clip in video_samples(folder, row, group.face):
                samples[clip.key] = encode_sample(clip)
                kept["ticks"] += len(clip)
        except SyncLipError as error:
            kept["refused"][row["file"]] = str(error)
    kept["samples"] = len(samples)
    write_shard(shard, samples)
    write_json(notes, kept)
    return kept


@cache
def _tracker(face: int) -> FaceTracker:
    """One a process: its networks are loaded once."""
    size = round(face * (1 + 2 * MARGIN))
    return FaceTracker(TrackOptions(crop_size=size, margin=MARGIN, missing="interpolate"))


def prepare(
    folder: Path,
    out: Path,
    rows: list[dict[str, Any]],
    part: tuple[int, int],
    processes: int = 1,
    corpus: str = "",
    face: int = FACE,
) -> dict[str, Any]:
    """Write the shards of these rows; returns the report that also lies in out/report-I-of-N.json."""
    out.mkdir(parents=True, exist_ok=True)
    groups = []
    for split in sorted({row["split"] for row in rows}):
        own = [row for row in rows if row["split"] == split]
        starts = range(0, len(own), VIDEOS_A_SHARD)
        groups += [Group(split, i, own[i : i + VIDEOS_A_SHARD], corpus, face) for i in starts]
    groups = groups[part[0] :: part[1]]
    total = Counter[str]()
    refused: dict[str, str] = {}
    with tqdm(total=sum(len(group.rows) for group in groups), desc="prepare", unit="video") as bar:
        for group, kept in _written(folder, out, groups, processes):
            bar.update(len(group.rows))
            total.update({"samples": kept["samples"], "ticks": kept["ticks"]})
            refused |= kept["refused"]
    report = {**total, "hours": round(total["ticks"] / 25 / 3600, 3), "refused": refused}
    name = f"{corpus}-report-{part[0]}-of-{part[1]}.json".lstrip("-")
    write_json(out / name, report)
    return report


def _written(folder: Path, out: Path, groups: list[Group], processes: int) -> Iterator[tuple[Group, dict[str, Any]]]:
    """Each group with its notes as it is done."""
    if processes == 1:
        for group in groups:
            yield group, write_group(folder, out, group)
        return
    # a forked process would inherit torch's threads in whatever state they are
    with ProcessPoolExecutor(processes, get_context("spawn"), _one_thread) as pool:
        # Ctrl-C reaches every process of a terminal: these ignore it from their start on, and are ended by this one
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pending = {pool.submit(write_group, folder, out, group): group for group in groups}
        finally:
            signal.signal(signal.SIGINT, heard)
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        except BaseException:
            for process in active_children():
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _one_thread() -> None:
    torch.set_num_threads(1)


def _part(text: str) -> tuple[int, int]:
    """argparse type: "I/N", part I (from 0) of N."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected I/N such as 0/4, I from 0 to N - 1")
    return int(found[1]), int(found[2])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.prepare", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with clips.csv or with videos")
    parser.add_argument("--out", required=True, type=Path, help="folder for the shards")
    parser.add_argument("--split", action="append", help="only this split (may be given more than once)")
    parser.add_argument("--layout", choices=list(CORPORA), help="a corpus as published, instead of clips.csv or videos")
    parser.add_argument("--seed", type=int, default=0, help="of the splits that a corpus does not have")
    parser.add_argument("--processes", type=int, default=1, help="that work beside each other, a shard each")
    parser.add_argument(
        "--part", type=_part, default=(0, 1), metavar="I/N", help="work on part I of N, one process each"
    )
    parser.add_argument(
        "--face",
        type=int,
        default=FACE,
        help=f"pixels of a face without its margin (default: {FACE}); the longer side of the config's image_size. A "
        "video's faces are in memory at once: at 1024, 4 MB a frame",
    )
    options = parser.parse_args(arguments)
    face = -(-options.face // WHOLE) * WHOLE
    try:
        layout, data = options.layout, options.data
        rows = corpus_rows(data, layout, options.seed) if layout else list_videos(data)
        rows = [row for row in rows if not options.split or row["split"] in options.split]
        if not rows:
            raise SyncLipError(f"{data}: no video of split {' or '.join(options.split or ['?'])}")
        report = prepare(data, options.out, rows, options.part, max(1, options.processes), layout or "", face)
    except SyncLipError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 4
    print(json.dumps(report, indent=1))
    return 0
