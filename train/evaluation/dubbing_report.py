"""Clips dubbed to the voice, and to the performance, of other clips: does the mouth follow, and nothing else change?

Rows of the table: "real", the other clip's own video against its voice; "untouched", the clip as it is against that
voice (chance); "audio" and "video", dubbed by the other clip's audio or vocal tokens; "shuffled", by its audio tokens
in another order; "own voice", by the clip's own audio tokens, where the source shows what is right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from synclip_core.commands.atomic import save_png
from synclip_core.dubbing.face import FacePath, follow_face
from synclip_core.dubbing.job import DubOptions, dub
from synclip_core.errors import SyncLipError
from synclip_core.media.info import probe
from synclip_core.pipeline import SyncPipeline, TokenStreams
from train.dubbing.export import Trained
from train.dubbing.painter import TorchPainter

from .clips import SUBSETS, Clip, read_clips
from .dubbing_measure import Change, Judge, correlation, opening
from .tables import format_table, rounded

DUBBED = ("audio", "video", "shuffled", "own voice")
ROWS = ("real", "untouched", *DUBBED)


@dataclass
class Options:
    """clips: of each subset, none over `longest` s; steps, guidance: of sampling; videos: folder of the results, or
    None."""

    clips: int = 10
    longest: float = 12.0
    steps: int = 12
    guidance: float = 1.0
    seed: int = 0
    videos: Path | None = None


@dataclass
class Subject:
    """A clip with what dubbing and judging need of it."""

    clip: Clip
    tokens: TokenStreams
    face: FacePath
    mouth: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.mouth = opening(self.face)


def evaluate_dubbing(
    data: Path,
    split: str,
    trained: Trained,
    driver: SyncPipeline,
    judges: Sequence[Judge],
    options: Options,
    work: Path,
) -> dict[str, Any]:
    """The report as plain data; results are written to options.videos or, for the time of measuring, to `work`.

    driver: the pipeline whose tokens the AudioPack takes.
    """
    trained.file.check(driver.checkpoint.sha256, driver.model.config.dim)
    clips, left_out = read_clips(data, split)
    found: dict[str, list[dict[str, Any]]] = {}
    skipped, sheets = list(left_out), []
    for subset in SUBSETS:
        chosen = _evenly([clip for clip in clips if clip.subset == subset and _short(clip, options)], options.clips)
        subjects = []
        for clip in tqdm(chosen, desc=f"{subset}: faces", unit="clip", leave=False, disable=None):
            try:
                subjects.append(_subject(clip, trained, driver))
            except SyncLipError as error:
                skipped.append({"file": clip.file, "reason": str(error)})
        if len(subjects) < 2:
            continue
        pairs = list(zip(subjects, subjects[1:] + subjects[:1], strict=True))
        found[subset] = []
        for number, (own, other) in enumerate(tqdm(pairs, desc=f"{subset}: dubs", unit="clip", disable=None)):
            rows, pictures = _pair(own, other, trained, judges, options, work)
            found[subset] += rows
            if number < 3:
                sheets.append(pictures)
    if options.videos is not None and sheets:
        save_png(_sheet(sheets), options.videos / "sheet.png")
    return {
        "split": split,
        "seed": options.seed,
        "steps": options.steps,
        "guidance": options.guidance,
        "clips": {subset: len(rows) // len(ROWS) for subset, rows in found.items()},
        "judges": [judge.name for judge in judges],
        "table": {subset: [_mean(rows, name, judges) for name in ROWS] for subset, rows in found.items()},
        "each": {subset: [_plain(row) for row in rows] for subset, rows in found.items()},
        "left_out": skipped,
    }


def dubbing_text(report: dict[str, Any]) -> str:
    """The tables for people."""
    return "\n\n".join(
        format_table(f"Dubbing, {subset}, {report['clips'][subset]} clips", rows)
        for subset, rows in report["table"].items()
    )


def _subject(clip: Clip, trained: Trained, driver: SyncPipeline) -> Subject:
    tokens = driver.tokens(clip.path)
    if not tokens.valid.any():
        raise SyncLipError("no face was found")
    return Subject(clip, tokens, follow_face(clip.path, trained.size, trained.margin))


def _pair(
    own: Subject, other: Subject, trained: Trained, judges: Sequence[Judge], options: Options, work: Path
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    rows, pictures = [], []
    files = {"real": other.clip.path, "untouched": own.clip.path}
    for name in DUBBED:
        files[name] = (options.videos or work) / f"{own.clip.path.stem}-{name.replace(' ', '-')}.mp4"
        tokens, valid = _tokens(name, own, other, options.seed)
        painter = TorchPainter(
            trained, torch.from_numpy(tokens), torch.from_numpy(valid), options.steps, options.guidance, options.seed
        )
        change = Change(own.face)
        parts = dub(own.clip.path, files[name], own.face, painter, DubOptions(crf=12), watch=change.watch)
        source, result = change.joins(parts)
        psnr = change.psnr if name == "own voice" else np.nan
        row = {"row": name, "psnr": psnr, "outside": change.outside, "join_source": source, "join": result}
        inner = np.mean([step for tick, step in change.steps.items()], 0) if change.steps else (np.nan, np.nan)
        rows.append({**row, "step_source": float(inner[0]), "step": float(inner[1])})
        before, after = change.pictures[len(change.pictures) // 2]
        pictures += [before, after] if not pictures else [after]
    rows = [{"row": "real"}, {"row": "untouched"}, *rows]
    for row in rows:
        name = row["row"]
        target = own if name == "own voice" else other
        mouth = {"real": other.mouth, "untouched": own.mouth}.get(name)
        if mouth is None:
            mouth = opening(follow_face(files[name], trained.size, trained.margin))
        row["own"], row["other"] = own.clip.file, other.clip.file
        row["mouth"] = correlation(mouth, target.mouth)
        for judge in judges:
            row[judge.name] = vars(judge.sync(files[name], target.clip.path))
    return rows, pictures


def _tokens(name: str, own: Subject, other: Subject, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if name == "video":
        return other.tokens.vocal, other.tokens.valid
    audio = own.tokens.audio if name == "own voice" else other.tokens.audio
    if name == "shuffled":
        audio = np.random.default_rng(seed).permutation(audio)
    return audio, np.ones(len(audio), bool)


def _mean(rows: list[dict[str, Any]], name: str, judges: Sequence[Judge]) -> dict[str, Any]:
    mine = [row for row in rows if row["row"] == name]
    told: dict[str, Any] = {"row": name}
    for judge in judges:
        syncs = [row[judge.name] for row in mine]
        told[f"{judge.name}: conf"] = _average(s["conf"] for s in syncs)
        told[f"{judge.name}: at 0"] = _average(s["at_zero"] for s in syncs)
        right = [s["lag"] is not None and abs(s["lag"]) <= 1 for s in syncs]
        told[f"{judge.name}: lag 0 %"] = round(100 * float(np.mean(right)), 1)
    told["mouth r"] = _average(row["mouth"] for row in mine)
    told["PSNR dB"] = _average(row.get("psnr", np.nan) for row in mine)
    for name in ("step_source", "step", "join_source", "join"):
        told[name.replace("_", ", ")] = _average(row.get(name, np.nan) for row in mine)
    told["changed outside"] = sum(row.get("outside", 0) for row in mine)
    return told


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    nested = {key: _plain(value) if isinstance(value, dict) else value for key, value in row.items()}
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in nested.items()}


def _average(values: Iterator[float] | Any) -> float | None:
    kept = [value for value in values if np.isfinite(value)]
    return rounded(float(np.mean(kept))) if kept else None


def _short(clip: Clip, options: Options) -> bool:
    return probe(clip.path).duration_s <= options.longest


def _evenly(clips: list[Clip], count: int) -> list[Clip]:
    return [clips[k] for k in np.linspace(0, len(clips) - 1, min(count, len(clips))).astype(int)] if clips else []


def _sheet(rows: list[list[np.ndarray]], height: int = 200) -> Image.Image:
    """Source, audio, video, shuffled, own voice; a clip a row."""
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
