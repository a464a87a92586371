"""The sync tables of EVALUATION.md from measured clips: every table a list of plain rows, one a subset and part."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synclip_core.metrics.clip_lag import LENGTHS_S, clip_lag
from synclip_core.metrics.in_sync import auc, confusion
from synclip_core.metrics.r_precision import RPrecision, mixed
from synclip_core.metrics.shift_consistency import shift_consistency
from synclip_core.metrics.window_lag import WINDOWS, WindowLag
from synclip_core.sync import measure_sync
from synclip_core.verdict import AUDIO_EARLY, AUDIO_LATE, CANNOT_TELL, IN_SYNC, MS_PER_FRAME, SyncThresholds

from .clips import SUBSETS, TRUSTED, read_clips
from .measure import WHOLE, ClipMeasure, collect, generator_for, measure_clip, other_clip, read_curve, with_other_audio
from .provider import TokenProvider
from .tables import format_table, percent, rounded

Rows = list[dict[str, Any]]
PARTS = ("all", "speech", "little speech")
LENGTHS = (*(f"{seconds} s" for seconds in LENGTHS_S), WHOLE)


def groups(clips: Sequence[ClipMeasure], subsets: Sequence[str] = SUBSETS) -> Iterator[tuple[str, str, list[int]]]:
    """(subset, part, indices of its clips), the empty ones left out; a part as large as its subset is not repeated."""
    for subset in subsets:
        inside = [i for i, m in enumerate(clips) if m.clip.subset == subset]
        for part in PARTS:
            chosen = [i for i in inside if part == "all" or clips[i].part == part]
            if chosen and (part == "all" or len(chosen) < len(inside)):
                yield subset, part, chosen


def window_rows(clips: Sequence[ClipMeasure]) -> Rows:
    """Acc@K, Offset@K; trusted clips only. Parts by the window's centre: does it hold speech?"""
    rows: Rows = []
    for subset in TRUSTED:
        inside = [m for m in clips if m.clip.subset == subset]
        for part in PARTS if inside else ():
            row: dict[str, Any] = {"subset": subset, "windows around": part, "clips": len(inside)}
            pooled = {k: sum((m.windows[part][k] for m in inside), WindowLag()) for k in WINDOWS}
            row |= {f"n@{k}": pooled[k].windows for k in WINDOWS}
            row |= {f"Acc@{k} %": percent(pooled[k].acc) for k in WINDOWS}
            row |= {f"Offset@{k}": rounded(pooled[k].offset) for k in WINDOWS}
            rows.append(row)
    return rows


def r_precision_rows(clips: Sequence[ClipMeasure], seed: int) -> Rows:
    """Both pools, every subset. The mixed pool holds all clips of the split whatever the row's subset."""
    tokens = [(m.tokens.audio, m.tokens.vocal, m.tokens.valid) for m in clips]
    pools = {"mixed": mixed(tokens, generator_for(seed, "mixed")), "same clip": [m.same_clip for m in clips]}
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        for pool, results in pools.items():
            total = sum((results[i] for i in chosen), RPrecision())
            row: dict[str, Any] = {"subset": subset, "clips with": part, "pool": pool, "clips": len(chosen)}
            row |= {"queries": total.queries, "skipped": total.skipped}
            rows.append(row | {f"R@{k} %": percent(total.top(k)) for k in (1, 2, 3)})
    return rows


def clip_lag_rows(clips: Sequence[ClipMeasure]) -> Rows:
    """Clip lag by length; trusted clips only.

    Speech weighting and the parabola stand beside the definition, to be judged by it.
    """
    rows: Rows = []
    for subset, part, chosen in groups(clips, TRUSTED):
        for length in LENGTHS:
            trials = [t for i in chosen for t in clips[i].trials if t.length == length]
            if not trials:
                continue
            truths = [t.shift for t in trials]
            result = clip_lag([t.found.lag for t in trials], truths)
            weighted = clip_lag([t.found.weighted_lag for t in trials], truths)
            refined = clip_lag([t.found.refined_lag for t in trials], truths)
            count = sum(any(t.length == length for t in clips[i].trials) for i in chosen)
            rows.append(
                {"subset": subset, "clips with": part, "length": length, "clips": count, "shifts": len(trials)}
                | {"within 1 %": percent(result.within_1), "error ms": rounded(result.mean_error_ms)}
                | {"no lag": result.undefined, "within 1 % (speech)": percent(weighted.within_1)}
                | {
                    "error ms (speech)": rounded(weighted.mean_error_ms),
                    "error ms (parabola)": rounded(refined.mean_error_ms),
                }
            )
    return rows


def subframe_rows(clips: Sequence[ClipMeasure]) -> Rows:
    """Shifts that are no whole frame: what the parabola gains over the whole-frame lag. Trusted clips, whole."""
    rows: Rows = []
    for subset in TRUSTED:
        trials = [t for m in clips if m.clip.subset == subset for t in m.subframe]
        if not trials:
            continue
        row: dict[str, Any] = {"subset": subset, "shifts": len(trials)}
        for name, found in (
            ("whole frames", [t.found.lag for t in trials]),
            ("parabola", [t.found.refined_lag for t in trials]),
        ):
            errors = [abs(f - t.shift) * MS_PER_FRAME for f, t in zip(found, trials, strict=True) if f is not None]
            row[f"error ms, {name}"] = rounded(float(np.mean(errors)) if errors else None)
            row[f"within 20 ms %, {name}"] = percent(float(np.mean([e <= 20 for e in errors])) if errors else None)
        rows.append(row)
    return rows


def consistency_rows(clips: Sequence[ClipMeasure]) -> Rows:
    """Shift consistency, every subset and length; own offset: the untouched clips' lags, in frames."""
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        for length in LENGTHS:
            per_clip = [(clips[i], [t for t in clips[i].trials if t.length == length]) for i in chosen]
            per_clip = [(m, trials) for m, trials in per_clip if trials]
            if not per_clip:
                continue
            # each trial is a cut with an own lag of its own, so it counts as one clip of one shift
            flat = [t for _, trials in per_clip for t in trials]
            result = shift_consistency(
                [t.own.lag for t in flat], [[t.found.lag] for t in flat], [[int(t.shift)] for t in flat]
            )
            own = shift_consistency([m.untouched.lag for m, _ in per_clip], [[]] * len(per_clip), [[]] * len(per_clip))
            row = {"subset": subset, "clips with": part, "length": length, "clips": len(per_clip), "shifts": len(flat)}
            row |= {
                "consistent %": percent(result.share),
                "own mean": rounded(own.own_mean),
                "own std": rounded(own.own_std),
            }
            row["own lags"] = " ".join(f"{lag:+d}:{n}" for lag, n in own.own_counts.items()) if length == WHOLE else ""
            rows.append(row)
    return rows


def in_sync_rows(clips: Sequence[ClipMeasure], seed: int, draws: int, thresholds: SyncThresholds) -> tuple[Rows, Rows]:
    """In-sync detection and verdicts, whole clips. Positives: untouched; negatives: shifted, or the audio of another
    clip.

    Accuracy weighs both sides alike. On web clips "untouched" may be out of sync by an own offset: read their rows as
    such.
    """
    foreign: dict[int, list[Any]] = {}
    verdicts: dict[int, list[tuple[str, str]]] = {}
    for i, m in enumerate(clips):
        generator = generator_for(seed, m.clip.file, "other audio")
        verdicts[i], foreign[i] = list(m.verdicts), []
        for _ in range(draws if len(clips) > 1 else 0):
            audio, vocal, valid, speech = with_other_audio(m, clips[other_clip(i, len(clips), generator)])
            foreign[i].append(read_curve(audio, vocal, valid))
            verdicts[i].append(
                ("other audio", measure_sync(audio, vocal, valid, speech, thresholds=thresholds).verdict)
            )
    rows: Rows = []
    told: Rows = []
    for subset, part, chosen in groups(clips):
        positive = [clips[i].untouched for i in chosen]
        shifted = [r for i in chosen for r in clips[i].negatives]
        other = [r for i in chosen for r in foreign[i]]
        scores = {name: [r.score for r in rs] for name, rs in (("p", positive), ("s", shifted), ("o", other))}
        counts = confusion(scores["p"], scores["s"] + scores["o"], thresholds.in_sync_score)
        plain = auc([r.similarity for r in positive], [r.similarity for r in shifted + other])
        rows.append(
            {
                "subset": subset,
                "clips with": part,
                "untouched": len(positive),
                "shifted": len(shifted),
                "other": len(other),
            }
            | {
                "AUC": rounded(auc(scores["p"], scores["s"] + scores["o"])),
                "AUC shifted": rounded(auc(scores["p"], scores["s"])),
            }
            | {"AUC other": rounded(auc(scores["p"], scores["o"])), "AUC cosine": rounded(plain)}
            | {"threshold": rounded(thresholds.in_sync_score), "accuracy %": percent(counts.accuracy)}
            | {"TP": counts.true_positive, "FN": counts.false_negative}
            | {"TN": counts.true_negative, "FP": counts.false_positive}
        )
        tally = Counter(pair for i in chosen for pair in verdicts[i])
        for case in ("untouched", "audio early", "audio late", "other audio"):
            line = {word: tally[case, word] for word in (IN_SYNC, AUDIO_EARLY, AUDIO_LATE, CANNOT_TELL)}
            told.append({"subset": subset, "clips with": part, "truth": case, "trials": sum(line.values())} | line)
    return rows, told


def lse_rows(clips: Sequence[ClipMeasure]) -> Rows:
    """LSE-C, LSE-D: means over the windows of all clips of a subset."""
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        found = [clips[i].lse for i in chosen if clips[i].lse.windows]
        count = sum(r.windows for r in found)
        mean_c = sum((r.lse_c or 0) * r.windows for r in found) / count if count else None
        mean_d = sum((r.lse_d or 0) * r.windows for r in found) / count if count else None
        row = {"subset": subset, "clips with": part, "embedding": clips[chosen[0]].lse.embedding, "clips": len(chosen)}
        rows.append(row | {"windows": count, "LSE-C": rounded(mean_c), "LSE-D": rounded(mean_d)})
    return rows


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
    limits = thresholds or provider.thresholds
    done, failed = collect(clips, lambda c: measure_clip(c, provider, seed, draws, limits), f"sync, {split}", quiet)
    detection, verdicts = in_sync_rows(done, seed, draws, limits)
    return {
        "command": "sync",
        "data": str(data),
        "split": split,
        "seed": seed,
        "draws": draws,
        "embedding": provider.name,
        "fingerprint": provider.fingerprint,
        "thresholds": limits.to_dict(),
        "clips": {s: sum(m.clip.subset == s for m in done) for s in SUBSETS},
        "failed": failed,
        "left_out": left_out,
        "tables": {
            "Window lag (trusted sync; chance 9.7 %, 7.7 frames)": window_rows(done),
            "R-precision, 32 candidates (chance 3.1 / 6.3 / 9.4 %)": r_precision_rows(done, seed),
            "Clip lag after a known shift of -12..12 frames (trusted sync)": clip_lag_rows(done),
            "Lags between whole frames (trusted sync, whole clips)": subframe_rows(done),
            "Shift consistency and own offsets in frames": consistency_rows(done),
            "In-sync detection (whole clips; web clips carry offsets of their own)": detection,
            "Verdicts (whole clips; web clips carry offsets of their own)": verdicts,
            "LSE-C, LSE-D (windows of 5 frames; only rows of one embedding compare)": lse_rows(done),
        },
    }


def sync_text(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    counts = ", ".join(f"{n} {subset}" for subset, n in report["clips"].items())
    lines = [
        f"split {report['split']}: {counts}; seed {report['seed']}, {report['draws']} draws, {report['embedding']}"
    ]
    lines += [f"failed: {f['file']}: {f['error']}" for f in report["failed"]]
    lines += [f"left out: {f['file']}: {f['reason']}" for f in report["left_out"]]
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
