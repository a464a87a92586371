"""Clips dubbed to the voice, and to the performance, of other clips: does the mouth follow, and nothing else change?

Rows: "real", the other clip's own video against its voice; "untouched", the clip as it is against that voice (chance);
"audio" and "video", dubbed by the other clip's audio or vocal tokens; "shuffled", by its audio tokens in another order;
"own voice", by the clip's own audio tokens, where the source shows what is right; "silence", by those of digital
silence. "reference" is no video but what a measure says of others: see dubbing_table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import save_png
from synclip_core.media.info import probe
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams
from train.dubbing.export import Trained

from ..clips import SUBSETS, Clip, read_clips
from .frechet import face_clips, frame_features, frechet_distance, motion_features
from .identity import People
from .judge import Judge
from .measure import correlation
from .pairs import DUBBED, ROWS, Options, Pair, dubbed_pair, subject_of
from .table import average, mean_row, plain
from .words import Words

SHOWN = 3  # clips of each subset in the contact sheet


def evaluate_dubbing(
    data: Path,
    split: str,
    trained: Trained,
    driver: SyncPipeline,
    judges: Sequence[Judge],
    words: Words | None,
    options: Options,
    work: Path,
) -> dict[str, Any]:
    """The report as plain data; results are written to options.videos or, for the time of measuring, to `work`.

    driver: the pipeline whose tokens the AudioPack takes; words: None where no sentence can be read.
    """
    trained.file.check(driver.checkpoint.sha256, driver.model.config.dim)
    clips, left_out = read_clips(data, split)
    clips, skipped = [clip for clip in clips if _short(clip, options)], list(left_out)
    sheets: list[list[np.ndarray]] = []
    people = {judge.name: _people(clips, judge) for judge in judges}
    found: dict[str, list[Pair]] = {}
    for subset in SUBSETS:
        chosen = _evenly([clip for clip in clips if clip.subset == subset], options.clips)
        subjects = []
        for clip in tqdm(chosen, desc=f"{subset}: faces", unit="clip", leave=False, disable=None):
            try:
                subjects.append(subject_of(clip, trained, driver))
            except SyncLipError as error:
                skipped.append({"file": clip.file, "reason": str(error)})
        if len(subjects) < 2:
            continue
        pairs = list(zip(subjects, subjects[1:] + subjects[:1], strict=True))
        found[subset] = []
        for number, (own, other) in enumerate(tqdm(pairs, desc=f"{subset}: dubs", unit="clip", disable=None)):
            pair, pictures = dubbed_pair(own, other, trained, options, work)
            if number < SHOWN:
                sheets.append(pictures)
            _measure(pair, judges, people, words)
            found[subset].append(pair)
    if options.videos is not None and sheets:
        save_png(_sheet(sheets), options.videos / "sheet.png")
    return {
        "split": split,
        "seed": options.seed,
        "steps": options.steps,
        "guidance": options.guidance,
        "clips": {subset: len(pairs) for subset, pairs in found.items()},
        "judges": {name: {"people": len(known)} for name, known in people.items()},
        "table": {subset: _table(pairs, judges, people) for subset, pairs in found.items()},
        "samples": {subset: _samples(pairs, judges) for subset, pairs in found.items()},
        "each": {
            subset: [plain(row) for pair in pairs for row in pair.rows.values()] for subset, pairs in found.items()
        },
        "left_out": skipped,
    }


def _people(clips: list[Clip], judge: Judge) -> People:
    """A clip of everyone in the split."""
    found: dict[str, TokenStreams] = {}
    for clip in tqdm(clips, desc=f"{judge.name}: people", unit="clip", leave=False, disable=None):
        if clip.identity not in found:
            try:
                found[clip.identity] = judge.look(clip.path).tokens
            except SyncLipError:  # told where it is dubbed
                continue
    return People(found)


def _measure(pair: Pair, judges: Sequence[Judge], people: dict[str, People], words: Words | None) -> None:
    """Adds to the pair's rows what the judges and the lip reader see."""
    own, other = pair.own.clip, pair.other.clip
    for name, video in pair.videos.items():
        row, target = pair.rows[name], own if name == "own voice" else other
        mouth = judges[0].look(video).mouth
        head: dict[str, Any] = {"row": name, "own": own.file, "other": other.file, "lips": average(mouth)}
        head["moves"] = average([np.nanstd(mouth)]) if np.isfinite(mouth).any() else None
        if name != "silence":  # which has no mouth or voice to follow
            head["mouth"] = correlation(mouth, judges[0].look(target.path).mouth)
        for judge in judges:
            head[judge.name] = {
                "identity": people[judge.name].alike(judge.look(own.path).tokens, judge.look(video).tokens)
            }
            if name != "silence":
                head[judge.name] |= vars(judge.sync(video, target.path))
        if words is not None and name != "silence":
            length = len((pair.own if target is own else pair.other).tokens.valid)
            if length <= len(pair.own.tokens.valid):  # else the dub ends before the sentence: not in any row
                head["words"] = words.read(video, target, length)
        pair.rows[name] = head | row


def _table(pairs: list[Pair], judges: Sequence[Judge], people: dict[str, People]) -> list[dict[str, Any]]:
    """A row each of ROWS, and the reference."""
    apart: dict[str, dict[str, dict[str, float]]] = {name: {} for name in (*ROWS, "reference")}
    strangers: dict[str, Any] = {}
    for judge in judges:
        real = _face_clips(pairs, "untouched", judge)
        for name in DUBBED:
            apart[name][judge.name] = _distances(real, _face_clips(pairs, name, judge))
        apart["reference"][judge.name] = _distances(real[::2], real[1::2])
        alike = [people[judge.name].strangers(judge.look(p.own.clip.path).tokens, p.own.clip.identity) for p in pairs]
        strangers[judge.name] = {"identity": average(alike)}
    names = [judge.name for judge in judges]
    table = [mean_row(name, [pair.rows[name] for pair in pairs], names, apart[name]) for name in ROWS]
    return [*table, mean_row("reference", [strangers], names, apart["reference"])]


def _face_clips(pairs: list[Pair], name: str, judge: Judge) -> list[np.ndarray]:
    return [clip for pair in pairs for clip in face_clips(judge.look(pair.videos[name]).tokens)]


def _distances(real: list[np.ndarray], made: list[np.ndarray]) -> dict[str, float]:
    return {
        "frames": frechet_distance(frame_features(real), frame_features(made)),
        "motion": frechet_distance(motion_features(real), motion_features(made)),
    }


def _samples(pairs: list[Pair], judges: Sequence[Judge]) -> dict[str, int]:
    """How much the numbers rest on that are not means over clips."""
    read = [pair.rows["audio"].get("words") for pair in pairs]
    return {
        "face_clips": len(_face_clips(pairs, "untouched", judges[0])),
        "sentences": sum(words is not None for words in read),
    }


def _short(clip: Clip, options: Options) -> bool:
    return probe(clip.path).duration_s <= options.longest


def _evenly(clips: list[Clip], count: int) -> list[Clip]:
    return [clips[k] for k in np.linspace(0, len(clips) - 1, min(count, len(clips))).astype(int)] if clips else []


def _sheet(rows: list[list[np.ndarray]], height: int = 200) -> Image.Image:
    """The source and each row of DUBBED; a clip a row."""
    lines = []
    for row in rows:
        cells = [Image.fromarray(p).resize((max(1, round(p.shape[1] * height / p.shape[0])), height)) for p in row]
        line = Image.new("RGB", (sum(cell.width for cell in cells), height))
        for k, cell in enumerate(cells):
            line.paste(cell, (sum(c.width for c in cells[:k]), 0))
        lines.append(line)
    sheet = Image.new("RGB", (max(line.width for line in lines), height * len(lines)))
    for k, line in enumerate(lines):
        sheet.paste(line, (0, k * height))
    return sheet
