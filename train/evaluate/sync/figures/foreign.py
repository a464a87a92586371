"""Foreign sound on short cuts: where nothing fits, lag 0 must win no more often than any other lag.

A model that marks the ends of a clip in both streams finds foreign sound in sync (evaluation.md, No end effects).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synclip_core.sync.verdict import SyncThresholds

from ...clips import SUBSETS, Clip
from ...tables import percent, rounded
from ..cuts import foreign_cuts, generator_for
from ..measure import Readings, judge, read_both
from ..provider import ClipParts, TokenProvider, View
from ..tokens import make_tokens
from .rows import ENDS, Rows, of_view

SECONDS = (1, 2, 3, 5)
Told = tuple[str, int | None]


@dataclass(frozen=True)
class ForeignTrial:
    """A cut of `seconds` under another person's sound. verdict: what a user is told, with the lag told."""

    clip: Clip
    seconds: int
    found: Readings
    verdict: Told


def foreign_trials(
    parts: Mapping[str, tuple[Clip, ClipParts]],
    provider: TokenProvider,
    limits: Sequence[SyncThresholds],
    seed: int,
    draws: int,
) -> list[list[ForeignTrial]]:
    """`draws` cuts of every clip and length, a list a view. parts: by file; limits: of the verdict, one a view."""
    trials: list[list[ForeignTrial]] = [[] for _ in provider.views]
    for clip, _ in parts.values():
        for seconds in SECONDS:
            generator = generator_for(seed, clip.file, f"foreign {seconds}")
            for part in foreign_cuts(clip, parts, seconds, draws, generator):
                for own, tokens, limit in zip(trials, make_tokens(provider, part), limits, strict=True):
                    told = judge(tokens, limit)
                    own.append(ForeignTrial(clip, seconds, read_both(tokens), (told.verdict, told.lag_frames)))
    return trials


def foreign_rows(view: View, trials: Sequence[ForeignTrial]) -> Rows:
    """Share of estimates at lag 0 +- 1 beside its chance: 3 of the lags that have pairs enough to be found."""
    rows: Rows = []
    for subset in ("all", *SUBSETS):
        for seconds in SECONDS:
            here = [t for t in trials if t.seconds == seconds and subset in ("all", t.clip.subset)]
            if not here:
                continue
            row = of_view(view) | {"subset": subset, "length": f"{seconds} s", "cuts": len(here)}
            for ends, mark in ENDS:
                known = [t.found[ends] for t in here if t.found[ends].lag is not None]
                near = [abs(r.lag or 0) <= 1 for r in known]
                chance = [min(1.0, 3 / r.candidates) for r in known]
                row |= {f"lag 0 +-1 %{mark}": percent(float(np.mean(near)) if near else None)}
                row |= {f"chance %{mark}": rounded(100 * float(np.mean(chance)), 1) if chance else None}
            rows.append(row)
    return rows
