"""MoChaBench (generated people): our lag and confidence against the offset, LSE-C and LSE-D that SyncNet gave.

The published offset has our sign: positive when the video lags the audio. SyncNet's own program says so
(offset = vshift - argmin over audio shifts), and the data do: the report counts agreement under both signs.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from synclip_core.errors import SyncLipError
from synclip_core.sync.measure import SyncResult
from synclip_core.sync.verdict import CANNOT_TELL

from ..tables import format_table, percent, rounded
from .measure import collect, judge
from .provider import TokenProvider, View
from .tokens import make_tokens

COLUMNS = ("file", "category", "syncnet_offset", "lse_c", "lse_d", "faces")
CLEAR = 4.0  # LSE-C over which SyncNet's offset is taken for right


@dataclass(frozen=True)
class Published:
    """One clip as SyncNet saw it. offset: frames at 25 fps, None like the rest where it gave none; faces: as
    published."""

    file: str
    path: Path
    category: str
    offset: int | None
    lse_c: float | None
    lse_d: float | None
    faces: int

    @property
    def sure(self) -> bool:
        """One face, and an offset that SyncNet is sure of."""
        return self.faces == 1 and self.offset is not None and self.lse_c is not None and self.lse_c > CLEAR


@dataclass(frozen=True)
class Judged:
    """A clip and what we say of it; `said`: a result a view."""

    clip: Published
    said: list[SyncResult]


def read_published(folder: Path) -> list[Published]:
    """folder: with the clips; FOLDER.csv beside it holds SyncNet's figures. SyncLipError where it does not fit."""
    table = folder.with_name(f"{folder.name}.csv")
    if not table.is_file():
        raise SyncLipError(f"{table}: expected a CSV table beside {folder} with columns {', '.join(COLUMNS)}")
    with open(table, newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise SyncLipError(f"{table}: lacks the column(s) {', '.join(sorted(missing))}")
        try:
            return [_published(row, folder) for row in reader]
        except ValueError as error:
            raise SyncLipError(f"{table}: {error}") from error


def _published(row: dict[str, str], folder: Path) -> Published:
    offset, lse_c, lse_d = (float(row[name]) if row[name] else None for name in COLUMNS[2:5])
    path, faces = folder / Path(row["file"]).name, int(row["faces"])
    if offset is None:  # SyncNet found no face: its zeros are no figures
        return Published(row["file"], path, row["category"], None, None, None, faces)
    return Published(row["file"], path, row["category"], round(offset), lse_c, lse_d, faces)


def evaluate_mochabench(
    folder: Path, provider: TokenProvider, *, quiet: bool = False
) -> tuple[dict[str, Any], list[Judged]]:
    """The report as plain JSON types, and every clip. Files are judged whole, as a user's file is."""
    published = read_published(folder)

    def work(clip: Published) -> Judged:
        tokens = make_tokens(provider, provider.parts(clip.path))
        return Judged(clip, [judge(t, view.thresholds) for t, view in zip(tokens, provider.views, strict=True)])

    done, failed = collect(published, work, "mochabench", quiet)
    tables: dict[str, list[dict[str, Any]]] = {}
    for k, view in enumerate(provider.views):
        tables.setdefault("Rank correlation (Spearman) with SyncNet's figures", []).extend(rank_rows(view, k, done))
        tables.setdefault("Lag against SyncNet's offset", []).extend(offset_rows(view, k, done))
        tables.setdefault("By category", []).extend(category_rows(view, k, done))
    return {
        "command": "mochabench",
        "data": str(folder),
        "embedding": provider.name,
        "fingerprint": provider.fingerprint,
        "clips": {"mochabench": len(done)},
        "failed": failed,
        "tables": tables,
    }, done


def _head(view: View) -> dict[str, Any]:
    return {"tokens": view.name, "sees": view.sees}


def rank_rows(view: View, k: int, done: Sequence[Judged]) -> list[dict[str, Any]]:
    """Of all clips that have both figures, and of those with one face."""
    rows = []
    for name, chosen in (("all", done), ("one face", [j for j in done if j.clip.faces == 1])):
        known = [j for j in chosen if j.clip.lse_c is not None and j.said[k].confidence is not None]
        row: dict[str, Any] = _head(view) | {"clips": name, "n": len(known)}
        for ours in ("confidence", "score"):
            told = [getattr(j.said[k], ours) for j in known]
            row[f"{ours}, LSE-C"] = _spearman(told, [j.clip.lse_c for j in known])
            row[f"{ours}, -LSE-D"] = _spearman(told, [-(j.clip.lse_d or 0) for j in known])
        rows.append(row)
    return rows


def _spearman(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if len({a for a, _ in pairs}) < 2 or len({b for _, b in pairs}) < 2:
        return None
    return rounded(float(spearmanr(*zip(*pairs, strict=True)).statistic), 3)


def offset_rows(view: View, k: int, done: Sequence[Judged]) -> list[dict[str, Any]]:
    """One face, LSE-C over 4. sign turned: the same share were the published sign the other way round; it must be
    lower. always 0: the same share of an answer that is no answer, as most of these clips are in sync."""
    sure = [j for j in done if j.clip.sure]
    both = [(j.clip.offset or 0, j.said[k].lag_frames or 0) for j in sure if j.said[k].verdict != CANNOT_TELL]
    theirs, ours = np.array([b[0] for b in both]), np.array([b[1] for b in both])
    row: dict[str, Any] = _head(view) | {"sure clips": len(sure), "both answered": len(both)}
    row["within 1"] = int((np.abs(ours - theirs) <= 1).sum())
    for name, said, reach in (
        ("within 1 %", ours, 1),
        ("the same %", ours, 0),
        ("within 1 %, sign turned", -ours, 1),
        ("within 1 %, always 0", 0 * ours, 1),
        ("the same %, always 0", 0 * ours, 0),
    ):
        row[name] = percent(float(np.mean(np.abs(said - theirs) <= reach))) if both else None
    for offset in sorted(set(theirs.tolist())):
        row[f"our mean at {offset:+d}"] = rounded(float(ours[theirs == offset].mean()), 2)
    return [row]


def category_rows(view: View, k: int, done: Sequence[Judged]) -> list[dict[str, Any]]:
    rows = []
    for category in sorted({j.clip.category for j in done}):
        inside = [j for j in done if j.clip.category == category]
        row: dict[str, Any] = _head(view) | {"category": category, "clips": len(inside)}
        row["answered"] = sum(j.said[k].verdict != CANNOT_TELL for j in inside)
        for name, values in (
            ("confidence", [j.said[k].confidence for j in inside]),
            ("score", [j.said[k].score for j in inside]),
            ("LSE-C", [j.clip.lse_c for j in inside]),
            ("LSE-D", [j.clip.lse_d for j in inside]),
        ):
            known = [value for value in values if value is not None]
            row[name] = rounded(float(np.mean(known)), 3) if known else None
        rows.append(row)
    return rows


def clip_rows(views: Sequence[View], done: Sequence[Judged]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and a row a clip, for a CSV file: SyncNet's figures, then ours, a group of columns a kind of tokens."""
    columns, rows = list(COLUMNS), []
    names = ("verdict", "lag_frames", "best_lag_frames", "confidence", "score", "face_s", "speech_s")
    columns += [f"{view.name}: {name}" for view in views for name in names]
    for j in done:
        clip = j.clip
        values = (clip.file, clip.category, clip.offset, clip.lse_c, clip.lse_d, clip.faces)
        row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
        for view, said in zip(views, j.said, strict=True):
            row |= {f"{view.name}: {name}": getattr(said, name) for name in names}
        rows.append(row)
    return columns, rows


def mochabench_text(report: dict[str, Any]) -> str:
    lines = [f"MoChaBench: {report['clips']['mochabench']} clips, {report['embedding']}; offsets in frames at 25 fps,"]
    lines.append("positive when the video lags the audio, SyncNet's and ours alike. Never tuned on these clips.")
    lines += [f"failed: {f['file']}: {f['error']}" for f in report["failed"]]
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
