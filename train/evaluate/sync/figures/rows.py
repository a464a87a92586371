"""What the rows of all sync tables share: whose tokens, how much they see, and figures with the ends beside those
without."""

from collections.abc import Iterator, Sequence
from typing import Any

from synclip_core.metrics.clip_lag import LENGTHS_S

from ...clips import SUBSETS
from ..measure import WHOLE, ClipMeasure
from ..provider import View

Rows = list[dict[str, Any]]
PARTS = ("all", "speech", "little speech")
LENGTHS = (*(f"{seconds} s" for seconds in LENGTHS_S), WHOLE)
ENDS = ((False, ""), (True, " (ends)"))  # counted with the ticks that know an end? and what the column's name adds


def of_view(view: View) -> dict[str, Any]:
    """The first columns of every row: kind of tokens, and frames that one video and one audio token see."""
    return {"tokens": view.name, "sees": view.sees}


def groups(clips: Sequence[ClipMeasure], subsets: Sequence[str] = SUBSETS) -> Iterator[tuple[str, str, list[int]]]:
    """(subset, part, indices of its clips), the empty ones left out; a part as large as its subset is not repeated."""
    for subset in subsets:
        inside = [i for i, m in enumerate(clips) if m.clip.subset == subset]
        for part in PARTS:
            chosen = [i for i in inside if part == "all" or clips[i].part == part]
            if chosen and (part == "all" or len(chosen) < len(inside)):
                yield subset, part, chosen
