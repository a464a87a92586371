"""The sync tables of evaluation.md: every table a list of plain rows, one a kind of tokens, subset and part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError
from synclip_core.sync.verdict import SyncThresholds

from ..clips import SUBSETS, Clip, read_clips
from ..tables import format_table
from .figures.foreign import foreign_rows, foreign_trials
from .figures.lags import clip_lag_rows, consistency_rows, subframe_rows, window_rows
from .figures.matches import in_sync_rows, r_precision_rows, sync_conf_rows
from .figures.people import people_rows
from .figures.position import Shown, position_rows, shown_twice
from .figures.rows import Rows
from .figures.verdicts import cut_verdict_rows, verdict_rows
from .measure import ClipMeasure, collect, measure_clip
from .provider import ClipParts, TokenProvider

PROBE_SPLIT = "val"  # the position probe is fitted there


def evaluate_sync(
    data: Path,
    split: str,
    provider: TokenProvider,
    *,
    seed: int = 0,
    draws: int = 4,
    exclude: Path | None = None,
    thresholds: SyncThresholds | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """The whole report as plain JSON types; `tables` maps a title to its rows. draws: random shifts (and foreign audio
    tracks) a clip and length."""
    clips, left_out = read_clips(data, split, exclude)
    views = [replace(view, thresholds=thresholds or view.thresholds) for view in provider.views]
    limits = [view.thresholds for view in views]
    parts: dict[str, tuple[Clip, ClipParts]] = {}

    def measure(clip: Clip) -> list[ClipMeasure]:
        found = provider.parts(clip.path)
        done = measure_clip(clip, found, provider, seed, draws, limits)
        parts[clip.file] = clip, found
        return done

    measured, failed = collect(clips, measure, f"sync, {split}", quiet)
    foreign = foreign_trials(parts, provider, limits, seed, draws)
    shown = _shown(list(parts.values()), provider, seed)
    probe = _probe_clips(data, split, provider, seed, exclude, quiet)

    tables: dict[str, Rows] = {}
    for k, view in enumerate(views):
        done = [of_clip[k] for of_clip in measured]
        for title, rows in {
            "Window lag (trusted sync; chance 9.7 %, 7.7 frames)": window_rows(view, done),
            "R-precision, 32 candidates (chance 3.1 / 6.3 / 9.4 %)": r_precision_rows(view, done, seed),
            "Clip lag after a known shift of -12..12 frames (trusted sync)": clip_lag_rows(view, done),
            "Lags between whole frames (trusted sync, whole clips)": subframe_rows(view, done),
            "Shift consistency and own offsets in frames": consistency_rows(view, done),
            "By speaker (trusted) and by source (web)": people_rows(view, done, seed),
            "Foreign sound on cuts: estimates at lag 0": foreign_rows(view, foreign[k]),
            "Position probe: is a token within 8 ticks of an end? (chance 0.5)": (
                position_rows(view, probe[k], shown[k]) if probe else []
            ),
            "Verdicts on cuts (web clips: foreign sound only)": cut_verdict_rows(view, done, foreign[k]),
            "In-sync detection (whole clips; web clips carry offsets of their own)": in_sync_rows(
                view, done, seed, draws
            ),
            "Verdicts (whole clips; web clips carry offsets of their own)": verdict_rows(view, done),
            "Sync_conf (means over windows of 5 frames; only rows of one embedding compare)": sync_conf_rows(
                view, done
            ),
        }.items():
            tables.setdefault(title, []).extend(rows)
    return {
        "command": "sync",
        "data": str(data),
        "split": split,
        "seed": seed,
        "draws": draws,
        "embedding": provider.name,
        "fingerprint": provider.fingerprint,
        "views": {
            view.name: {"vocal_reach": view.reach[0], "audio_reach": view.reach[1], "encoder_reach": view.encoder}
            for view in views
        },
        "thresholds": {view.name: view.thresholds.to_dict() for view in views},
        "clips": {s: sum(of_clip[0].clip.subset == s for of_clip in measured) for s in SUBSETS},
        "failed": failed,
        "left_out": left_out,
        "tables": tables,
    }


def _shown(clips: Sequence[tuple[Clip, ClipParts]], provider: TokenProvider, seed: int) -> list[dict[str, Shown]]:
    return shown_twice([parts for _, parts in clips], provider, seed, [clip.file for clip, _ in clips])


def _probe_clips(
    data: Path, split: str, provider: TokenProvider, seed: int, exclude: Path | None, quiet: bool
) -> list[dict[str, Shown]] | None:
    """The clips that the position probe is fitted on; None where there are no others than the judged ones."""
    try:
        clips, _ = read_clips(data, PROBE_SPLIT, exclude)
    except SyncLipError:
        return None
    if split == PROBE_SPLIT:
        return None
    parts, _ = collect(clips, lambda clip: (clip, provider.parts(clip.path)), f"probe, {PROBE_SPLIT}", quiet)
    return _shown(parts, provider, seed)


def sync_text(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    counts = ", ".join(f"{n} {subset}" for subset, n in report["clips"].items())
    lines = [
        f"split {report['split']}: {counts}; seed {report['seed']}, {report['draws']} draws, {report['embedding']}",
        "sees: frames that one video token + one audio token see. (ends): with ticks whose context reaches past an end",
        "of the clip or of the face track; all other columns are without them.",
    ]
    lines += [f"failed: {f['file']}: {f['error']}" for f in report["failed"]]
    lines += [f"left out: {f['file']}: {f['reason']}" for f in report["left_out"]]
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
