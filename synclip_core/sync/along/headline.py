"""The timeline in a word and in a sentence, as a person would say it."""

from collections.abc import Iterable, Sequence

from ...metrics.distance import FPS
from .stretches import (
    CANNOT_TELL,
    IN_SYNC,
    MATCHED,
    MOVES_IN_SILENCE,
    MS,
    NOT_FOLLOWING,
    STILL,
    Stretch,
)

MIXED, DRIFT = "mixed", "drift"
# lag a second of sound that a wrong frame rate brings: sound keeps its pace, the picture is shown slower or faster
_RATES = (("25", "24"), ("24", "25"), ("30", "25"), ("25", "30"), ("30", "29.97"), ("24", "23.976"), ("30", "24"))


def lag_text(frames: float) -> str:
    """ "audio is 320 ms late"; "in sync" under half a frame."""
    ms = round(frames * MS)
    return "in sync" if not ms else f"audio is {abs(ms)} ms {'early' if ms > 0 else 'late'}"


def rate_guess(slope: float) -> str:
    """The wrong frame rate that would bring this slope (frames a frame), as a question; "" for none."""
    for made, saved in _RATES:
        expected = float(made) / float(saved) - 1
        if abs(slope - expected) < max(0.06 * abs(expected), 0.0004):
            return f": frames made at {made} fps, saved at {saved}?"
    return ""


def verdict_of(stretches: Sequence[Stretch]) -> str:
    """One word for the whole: that of its only lag, or drift, mixed, does_not_follow, cannot_tell."""
    lines = [s for s in stretches if s.state in MATCHED]
    wrong = [
        s for s in stretches if s.state in (NOT_FOLLOWING, MOVES_IN_SILENCE) or (s.state == STILL and s.speech_s >= 0.5)
    ]
    if not lines:
        return NOT_FOLLOWING if any(s.state == NOT_FOLLOWING for s in stretches) else CANNOT_TELL
    one = len({(round(s.slope, 6), s.state) for s in lines}) == 1 and _one_line(lines)
    if wrong or not one:
        return MIXED
    return DRIFT if lines[0].slope and any(s.state != IN_SYNC for s in lines) else lines[0].state


def _one_line(lines: Sequence[Stretch]) -> bool:
    """All lie on one line, within a frame."""
    first = lines[0]
    return all(
        abs((s.lag_frames or 0) - ((first.lag_frames or 0) + first.slope * (s.start_s - first.start_s) * FPS)) <= 1.01
        for s in lines[1:]
    )


def words_of(verdict: str, stretches: Sequence[Stretch], reason: str) -> str:
    """The headline."""
    lines = [s for s in stretches if s.state in MATCHED]
    if verdict == CANNOT_TELL:
        return f"{reason}: cannot tell"
    if verdict == NOT_FOLLOWING:
        return "the lips do not follow the voice at any lag"
    if verdict == DRIFT:
        return _drift_words(lines)
    if verdict != MIXED:
        return "in sync" if verdict == IN_SYNC else lag_text(_main(lines))
    parts = [_course(lines)]
    total = sum(s.speech_s for s in stretches)
    if any(s.state == NOT_FOLLOWING for s in stretches):
        follows = sum(s.seconds for s in lines)
        whole = follows + sum(s.seconds for s in stretches if s.state in (NOT_FOLLOWING, CANNOT_TELL, STILL))
        where = _spans(s for s in stretches if s.state == NOT_FOLLOWING)
        parts.insert(0, f"lips follow the voice for {follows:.0f} of {whole:.0f} s (not {where})")
    still = [s for s in stretches if s.state == STILL and s.speech_s >= 0.5]
    if still and total:
        parts.append(f"the picture stands still {_spans(still)} while the voice goes on")
    silent = [s for s in stretches if s.state == MOVES_IN_SILENCE]
    if silent:
        parts.append(f"the mouth moves without a voice {_spans(silent)}")
    return "; ".join(parts)


def _main(lines: Sequence[Stretch]) -> float:
    """The lag of the longest stretch."""
    return max(lines, key=lambda s: s.seconds).lag_frames or 0.0


def _drift_words(lines: Sequence[Stretch]) -> str:
    first, last = lines[0], lines[-1]
    rate = first.slope * 1000
    side = "grows" if abs(last.lag_end_frames or 0) >= abs(first.lag_frames or 0) else "shrinks"
    begin, end = lag_text(first.lag_frames or 0), lag_text(last.lag_end_frames or 0)
    course = f"{begin} at {first.start_s:.1f} s, {end} at {last.end_s:.1f} s"
    return (
        f"the lag {side} by {abs(rate):.{0 if abs(rate) >= 10 else 1}f} ms a second ({course}){rate_guess(first.slope)}"
    )


def _course(lines: Sequence[Stretch]) -> str:
    """ "in sync until 10.4 s, then audio is 320 ms late"; neighbours with one lag are told once."""
    told: list[tuple[str, float]] = []
    for s in lines:
        if s.slope and s.state != IN_SYNC:
            text = f"the lag changes by {s.slope * 1000:+.0f} ms a second"
        else:
            text = "in sync" if s.state == IN_SYNC else lag_text(s.lag_frames or 0)
        if told and told[-1][0] == text:
            told[-1] = (text, s.end_s)
        else:
            told.append((text, s.end_s))
    if len(told) == 1:
        return told[0][0]
    if len(told) > 4:
        return f"the lag changes {len(told) - 1} times, from {told[0][0]} to {told[-1][0]}"
    first = f"{told[0][0]} until {told[0][1]:.1f} s"
    middle = [f"then {text} until {end:.1f} s" for text, end in told[1:-1]]
    return ", ".join([first, *middle, f"then {told[-1][0]}"])


def _spans(stretches: Iterable[Stretch]) -> str:
    spans = [f"from {s.start_s:.1f} to {s.end_s:.1f} s" for s in stretches]
    return ", ".join(spans[:3]) + (f" and {len(spans) - 3} times more" if len(spans) > 3 else "")
