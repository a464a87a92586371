"""The same figures by speaker (trusted clips) and by source (web clips): who pulls an average up or down."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from synclip_core.metrics.r_precision import RPrecision
from synclip_core.metrics.window_lag import WINDOWS, WindowLag

from ...clips import SEEN, SUBSETS, TRUSTED
from ...tables import percent
from ..measure import WHOLE, ClipMeasure
from ..provider import View
from .lags import consistent, own_lags
from .matches import r_precision
from .rows import Rows, of_view

SHORT = ("1 s", "2 s", "3 s")


def people_rows(view: View, clips: Sequence[ClipMeasure], seed: int) -> Rows:
    """Without ticks that know an end. The seen speaker is one row. near 0 %: untouched whole clips within a frame of
    lag 0; consistent: known shifts found within a frame."""
    ranks = r_precision(clips, seed, False)["mixed"]
    rows: Rows = []
    for subset in SUBSETS:
        trusted = subset in TRUSTED
        inside = [i for i, m in enumerate(clips) if m.clip.subset == subset]
        names = {i: _name(clips[i], subset) for i in inside}
        for name in sorted(set(names.values())):
            chosen = [i for i in inside if names[i] == name]
            own = [clips[i] for i in chosen]
            row: dict[str, Any] = of_view(view) | {"subset": subset, "who": name, "clips": len(own)}
            windows = {k: sum((m.windows[False]["all"][k] for m in own), WindowLag()) for k in WINDOWS}
            row |= {f"Acc@{k} %": percent(windows[k].acc) if trusted else None for k in WINDOWS}
            row |= {"R@1 %": percent(sum((ranks[i] for i in chosen), RPrecision()).top(1))}
            near = [m.untouched.inside.lag is not None and abs(m.untouched.inside.lag) <= 1 for m in own]
            row |= {"near 0 %": percent(float(np.mean(near)))}
            row |= {"consistent %, whole": percent(consistent(own, (WHOLE,), False))}
            row |= {"consistent %, 1-3 s": percent(consistent(own, SHORT, False))}
            rows.append(row | {"own lags": own_lags(own)})
    return rows


def _name(m: ClipMeasure, subset: str) -> str:
    if subset == SEEN:
        return "s1"
    return m.clip.identity if subset in TRUSTED else m.clip.source or "?"
