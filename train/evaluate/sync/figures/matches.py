"""Tables of how well single tokens and whole clips match: R-precision, in-sync detection, Sync_conf."""

from collections.abc import Sequence
from typing import Any

from synclip_core.metrics.in_sync import auc, confusion
from synclip_core.metrics.r_precision import RPrecision, mixed

from ...tables import percent, rounded
from ..cuts import generator_for
from ..measure import ClipMeasure, Readings, other_clip, read_both, with_other_audio
from ..provider import View
from .rows import ENDS, Rows, groups, of_view


def r_precision(clips: Sequence[ClipMeasure], seed: int, ends: bool) -> dict[str, list[RPrecision]]:
    """pool -> one result a clip. The mixed pool holds all clips of the split."""
    tokens = []
    for m in clips:
        heard, seen = m.tokens.counted(ends)
        tokens.append((m.tokens.audio, m.tokens.vocal, seen if heard is None else seen & heard))
    return {"mixed": mixed(tokens, generator_for(seed, "mixed")), "same clip": [m.same_clip[ends] for m in clips]}


def r_precision_rows(view: View, clips: Sequence[ClipMeasure], seed: int) -> Rows:
    """Both pools, every subset."""
    pools = {ends: r_precision(clips, seed, ends) for ends, _ in ENDS}
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        for pool in ("mixed", "same clip"):
            row: dict[str, Any] = of_view(view) | {"subset": subset, "clips with": part, "pool": pool}
            row |= {"clips": len(chosen)}
            for ends, mark in ENDS:
                total = sum((pools[ends][pool][i] for i in chosen), RPrecision())
                row |= {} if ends else {"queries": total.queries, "skipped": total.skipped}
                row |= {f"R@{k} %{mark}": percent(total.top(k)) for k in (1, 2, 3)}
            rows.append(row)
    return rows


def in_sync_rows(view: View, clips: Sequence[ClipMeasure], seed: int, draws: int) -> Rows:
    """In-sync detection, whole clips. Positives: untouched; negatives: shifted, or the audio of another clip.

    Accuracy weighs both sides alike, at the model's own threshold and, as a user's file is judged, with the ends. On
    web clips "untouched" may be out of sync by an own offset: read their rows as such.
    """
    foreign: dict[int, list[Readings]] = {}
    for i, m in enumerate(clips):
        generator = generator_for(seed, m.clip.file, "other audio")
        others = [other_clip(i, len(clips), generator) for _ in range(draws if len(clips) > 1 else 0)]
        foreign[i] = [read_both(with_other_audio(m, clips[other])) for other in others]
    limit = view.thresholds.in_sync_score
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        positive = [clips[i].untouched for i in chosen]
        shifted = [r for i in chosen for r in clips[i].negatives]
        other = [r for i in chosen for r in foreign[i]]
        row = of_view(view) | {"subset": subset, "clips with": part, "untouched": len(positive)}
        row |= {"shifted": len(shifted), "other": len(other)}
        for ends, mark in ENDS:
            p, s, o = ([r[ends].score for r in readings] for readings in (positive, shifted, other))
            row |= {f"AUC{mark}": rounded(auc(p, s + o))}
            if not ends:
                row |= {"AUC shifted": rounded(auc(p, s)), "AUC other": rounded(auc(p, o))}
                cosine = [[r[ends].similarity for r in readings] for readings in (positive, shifted + other)]
                row |= {"AUC cosine": rounded(auc(*cosine))}
        counts = confusion(p, s + o, limit)
        row |= {"threshold": rounded(limit), "accuracy % (ends)": percent(counts.accuracy)}
        row |= {"TP": counts.true_positive, "FN": counts.false_negative}
        rows.append(row | {"TN": counts.true_negative, "FP": counts.false_positive})
    return rows


def sync_conf_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Sync_conf and the minimal distance: means over the windows of all clips of a subset."""
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        row = of_view(view) | {"subset": subset, "clips with": part, "clips": len(chosen)}
        for ends, mark in ENDS:
            found = [clips[i].lse[ends] for i in chosen if clips[i].lse[ends].windows]
            count = sum(r.windows for r in found)
            mean_c = sum((r.lse_c or 0) * r.windows for r in found) / count if count else None
            mean_d = sum((r.lse_d or 0) * r.windows for r in found) / count if count else None
            row |= {f"windows{mark}": count, f"Sync_conf{mark}": rounded(mean_c), f"distance{mark}": rounded(mean_d)}
        rows.append(row)
    return rows
