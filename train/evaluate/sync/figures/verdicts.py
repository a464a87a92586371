"""Tables of what a user is told: whole clips, and cuts of 1, 2, 3 and 5 s at the verdict's own thresholds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from synclip_core.sync.verdict import AUDIO_EARLY, AUDIO_LATE, CANNOT_TELL, IN_SYNC

from ...clips import SUBSETS, TRUSTED
from ...tables import percent
from ..measure import NEGATIVE_SHIFT, WHOLE, ClipMeasure
from ..provider import View
from .foreign import ForeignTrial
from .rows import LENGTHS, Rows, groups, of_view

Told = tuple[str, int | None]  # verdict and lag
CASES = ("untouched", "audio early", "audio late")


def verdict_rows(view: View, clips: Sequence[ClipMeasure]) -> Rows:
    """Whole clips, untouched and shifted by 3 to 12 frames. Web clips carry offsets of their own."""
    rows: Rows = []
    for subset, part, chosen in groups(clips):
        tally = Counter(pair for i in chosen for pair in clips[i].verdicts)
        for case in CASES:
            line = {word: tally[case, word] for word in (IN_SYNC, AUDIO_EARLY, AUDIO_LATE, CANNOT_TELL)}
            row = of_view(view) | {"subset": subset, "clips with": part, "truth": case, "trials": sum(line.values())}
            rows.append(row | line)
    return rows


def cut_verdict_rows(view: View, clips: Sequence[ClipMeasure], foreign: Sequence[ForeignTrial]) -> Rows:
    """By length: untouched cuts and cuts shifted by 3 to 12 frames (trusted clips), and foreign sound (all).

    right: the lag told is within a frame of the truth; wrong: another lag is told; both of all trials, the rest is
    "cannot tell", which is right for foreign sound.
    """
    rows: Rows = []
    for subset in SUBSETS:
        inside = [m for m in clips if m.clip.subset == subset]
        for length in LENGTHS:
            trials = [t for m in inside for t in m.trials if t.length == length] if subset in TRUSTED else []
            still = [(t.own_verdict, 0.0) for t in trials]
            if length == WHOLE:  # one untouched clip, however many shifts
                still = [(t.own_verdict, 0.0) for m in inside for t in m.trials[-1:] if subset in TRUSTED]
            moved = [(t.verdict, t.shift) for t in trials if abs(t.shift) >= NEGATIVE_SHIFT]
            other = [(t.verdict, None) for t in foreign if t.clip.subset == subset and f"{t.seconds} s" == length]
            for case, told in (("untouched", still), ("shifted", moved), ("foreign", other)):
                if told:
                    row = of_view(view) | {"subset": subset, "length": length, "truth": case, "trials": len(told)}
                    rows.append(row | _shares(told))
    return rows


def _shares(told: Sequence[tuple[Told, float | None]]) -> dict[str, float | None]:
    answered = [verdict != CANNOT_TELL for (verdict, _), _ in told]
    right = [
        truth is None if lag is None else truth is not None and abs(lag - truth) <= 1 + 1e-9
        for (_, lag), truth in told
        # a lag of None is "cannot tell": right where there is nothing to tell
    ]
    wrong = [a and not r for a, r in zip(answered, right, strict=True)]
    in_sync = [verdict == IN_SYNC for (verdict, _), _ in told]
    names = ("answered %", "right %", "wrong %", "called in sync %")
    return {n: percent(float(np.mean(v))) for n, v in zip(names, (answered, right, wrong, in_sync), strict=True)}
