"""Tables of lags: by window, by clip and length, between whole frames, and known shifts of clips of unknown sync."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from synclip_core.metrics.clip_lag import clip_lag
from synclip_core.metrics.shift_consistency import shift_consistency
from synclip_core.metrics.window_lag import WINDOWS, WindowLag
from synclip_core.sync.verdict import MS_PER_FRAME

from ...clips import TRUSTED
from ...tables import percent, rounded
from ..measure import WHOLE, ClipMeasure
from ..provider import View
from .rows import ENDS, LENGTHS, PARTS, Rows, groups, of_view


def window_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Acc@K, Offset@K; trusted clips only. Parts by the window's centre: does it hold speech?"""
    rows: Rows = []
    for subset in TRUSTED:
        inside = [m for m in clips if m.clip.subset == subset]
        for part in PARTS if inside else ():
            row: dict[str, Any] = of_view(view) | {"subset": subset, "windows around": part, "clips": len(inside)}
            for ends, mark in ENDS:
                pooled = {k: sum((m.windows[ends][part][k] for m in inside), WindowLag()) for k in WINDOWS}
                if not ends:
                    row |= {f"n@{k}": pooled[k].windows for k in WINDOWS}
                row |= {f"Acc@{k} %{mark}": percent(pooled[k].acc) for k in WINDOWS}
                row |= {f"Offset@{k}{mark}": rounded(pooled[k].offset) for k in WINDOWS}
            rows.append(row)
    return rows


def clip_lag_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Clip lag by length; trusted clips only. lags: how many of the 31 have pairs enough to be found.

    Speech weighting and the parabola stand beside the definition, to be judged by it.
    """
    rows: Rows = []
    for subset, part, chosen in groups(clips, TRUSTED):
        for length in LENGTHS:
            trials = [t for i in chosen for t in clips[i].trials if t.length == length]
            if not trials:
                continue
            truths = [t.shift for t in trials]
            count = sum(any(t.length == length for t in clips[i].trials) for i in chosen)
            row = of_view(view) | {"subset": subset, "clips with": part, "length": length}
            row |= {"clips": count, "shifts": len(trials)}
            for ends, mark in ENDS:
                found = [t.found[ends] for t in trials]
                result = clip_lag([r.lag for r in found], truths)
                row |= {f"within 1 %{mark}": percent(result.within_1), f"error ms{mark}": rounded(result.mean_error_ms)}
                row |= {f"lags{mark}": rounded(float(np.mean([r.candidates for r in found])), 1)}
            weighted = clip_lag([t.found.inside.weighted_lag for t in trials], truths)
            refined = clip_lag([t.found.inside.refined_lag for t in trials], truths)
            row |= {"within 1 % (speech)": percent(weighted.within_1)}
            rows.append(row | {"error ms (parabola)": rounded(refined.mean_error_ms)})
    return rows


def subframe_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Shifts that are no whole frame: what the parabola gains over the whole-frame lag. Trusted clips, whole."""
    rows: Rows = []
    for subset in TRUSTED:
        trials = [t for m in clips if m.clip.subset == subset for t in m.subframe]
        if not trials:
            continue
        row: dict[str, Any] = of_view(view) | {"subset": subset, "shifts": len(trials)}
        for ends, mark in ENDS:
            for name, found in (
                ("whole frames", [t.found[ends].lag for t in trials]),
                ("parabola", [t.found[ends].refined_lag for t in trials]),
            ):
                errors = [abs(f - t.shift) * MS_PER_FRAME for f, t in zip(found, trials, strict=True) if f is not None]
                row[f"error ms, {name}{mark}"] = rounded(float(np.mean(errors)) if errors else None)
                row[f"within 20 ms %, {name}{mark}"] = percent(
                    float(np.mean([e <= 20 for e in errors])) if errors else None
                )
        rows.append(row)
    return rows


def consistency_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Shift consistency, every subset and length; own offset: the untouched clips' lags, in frames."""
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        for length in LENGTHS:
            inside = [clips[i] for i in chosen if any(t.length == length for t in clips[i].trials)]
            if not inside:
                continue
            row = of_view(view) | {"subset": subset, "clips with": part, "length": length, "clips": len(inside)}
            row |= {"shifts": sum(t.length == length for m in inside for t in m.trials)}
            row |= {f"consistent %{mark}": percent(consistent(inside, (length,), ends)) for ends, mark in ENDS}
            own = [m.untouched.inside.lag for m in inside]
            spread = shift_consistency(own, [[]] * len(own), [[]] * len(own))
            row |= {"own mean": rounded(spread.own_mean), "own std": rounded(spread.own_std)}
            rows.append(row | {"own lags": own_lags(inside) if length == WHOLE else ""})
    return rows


def consistent(clips: Sequence[ClipMeasure], lengths: Sequence[str], ends: bool) -> float | None:
    """Share of known shifts found within a frame. Each trial is a cut with an own lag of its own, so it counts as one
    clip of one shift."""
    trials = [t for m in clips for t in m.trials if t.length in lengths]
    found = [[t.found[ends].lag] for t in trials]
    return shift_consistency([t.own[ends].lag for t in trials], found, [[int(t.shift)] for t in trials]).share


def own_lags(clips: Sequence[ClipMeasure]) -> str:
    """The untouched clips' lags and how many have each: "-1:3 +0:20"."""
    counts = shift_consistency([m.untouched.inside.lag for m in clips], [[]] * len(clips), [[]] * len(clips)).own_counts
    return " ".join(f"{lag:+d}:{n}" for lag, n in counts.items())
