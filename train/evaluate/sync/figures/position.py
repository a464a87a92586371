"""Does a single token tell whether it stands near an end of its clip? (evaluation.md, No end effects)

The same tick of the same clip is shown twice: near an end of one cut, and in the middle of another. Whatever is said
there is then no help: a linear probe that tells the two apart better than by chance (AUC 0.5) has read the end itself.
Start and end are asked for one by one, as a token may mark them in opposite ways. Whole clips are probed beside it,
where silence at both ends helps too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from synclip_core.metrics.classification import auc

from ...ridge import Ridge
from ...tables import rounded
from ..cuts import generator_for
from ..provider import ClipParts, TokenProvider, View
from ..tokens import Tokens, make_tokens
from .rows import Rows, of_view

NEAR = 8  # ticks from an end
LENGTH = 40  # ticks of a cut
CUTS = 10  # of each clip
STREAMS = ("vocal", "audio")
MIDDLE, START, END = 0, 1, 2


class Shown(NamedTuple):
    """Tokens [n, D] of each stream, and where they stand: MIDDLE, START or END, int [n]."""

    tokens: dict[str, np.ndarray]
    place: np.ndarray


def places(total: int) -> np.ndarray:
    """int [total]: START and END within NEAR ticks of an end."""
    place = np.full(total, MIDDLE)
    place[:NEAR], place[max(0, total - NEAR) :] = START, END
    return place


def shown_twice(
    clips: Sequence[ClipParts], provider: TokenProvider, seed: int, names: Sequence[str]
) -> list[dict[str, Shown]]:
    """Of each view: "cuts", ticks that are shown near an end and in the middle, and "whole", uncut clips.

    names: of the clips, they seed the cuts.
    """
    rows: list[dict[str, list[tuple[np.ndarray, np.ndarray, int]]]] = [
        {"cuts": [], "whole": []} for _ in provider.views
    ]
    for clip, name in zip(clips, names, strict=True):
        for own, tokens in zip(rows, make_tokens(provider, clip), strict=True):
            own["whole"] += [_row(tokens, t, places(len(clip))[t]) for t in np.flatnonzero(tokens.valid)]
        if len(clip) <= LENGTH:
            continue
        found: list[dict[tuple[int, int], tuple[np.ndarray, np.ndarray, int]]] = [{} for _ in provider.views]
        for start in generator_for(seed, name, "position").integers(0, len(clip) - LENGTH + 1, CUTS):
            for seen, tokens in zip(found, make_tokens(provider, clip.cut(int(start), LENGTH)), strict=True):
                for t in np.flatnonzero(tokens.valid):
                    place = int(places(LENGTH)[t])
                    seen.setdefault((int(start + t), place), _row(tokens, t, place))
        for own, seen in zip(rows, found, strict=True):
            for tick, place in sorted(seen):
                if place != MIDDLE and (tick, MIDDLE) in seen:
                    own["cuts"] += [seen[tick, place], seen[tick, MIDDLE]]
    return [{name: _stacked(own) for name, own in of_view.items()} for of_view in rows]


def _row(tokens: Tokens, tick: int, place: int) -> tuple[np.ndarray, np.ndarray, int]:
    return tokens.vocal[tick], tokens.audio[tick], int(place)


def _stacked(rows: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> Shown:
    tokens = {stream: np.array([row[k] for row in rows], np.float64) for k, stream in enumerate(STREAMS)}
    return Shown(tokens, np.array([place for *_, place in rows], int))


def position_rows(view: View, fit: dict[str, Shown], judged: dict[str, Shown]) -> Rows:
    """A row a stream. fit, judged: what `shown_twice` gives for this view, of other clips."""
    rows: Rows = []
    for stream in STREAMS:
        row = of_view(view) | {"stream": stream, "tokens shown twice": len(judged["cuts"].place)}
        for name, title in (("cuts", ""), ("whole", " (whole clips)")):
            for side, word in ((START, "start"), (END, "end")):
                row |= {f"AUC {word}{title}": rounded(_told(fit[name], judged[name], stream, side), 3)}
        rows.append(row)
    return rows


def _told(fit: Shown, judged: Shown, stream: str, side: int) -> float | None:
    """AUC of a ridge probe that tells one side's ticks from the middle's; None where there are too few."""
    (x, y), (asked, truth) = ((s.tokens[stream], s.place) for s in (fit, judged))
    x, y, asked, truth = x[y != 3 - side], y[y != 3 - side], asked[truth != 3 - side], truth[truth != 3 - side]
    if len(set(y)) < 2 or len(set(truth)) < 2:
        return None
    return auc(Ridge.fit(x, (y == side)[:, None].astype(np.float64))(asked)[:, 0], truth == side)
