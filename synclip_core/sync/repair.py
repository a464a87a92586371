"""From what was found to what is to be done: which parts of the sound move by how much, or why nothing can be done."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..clock import FPS, RATE
from ..errors import SyncLipError
from ..media.audio import read_audio
from ..media.pieces import Move
from .align import AlignReport, write_aligned
from .along.headline import rate_guess
from .along.stretches import IN_SYNC, MATCHED, MOVES_IN_SILENCE, MS, NOT_FOLLOWING, STILL
from .report import ScoreReport

_AROUND_S = 0.5  # of a border, where a quiet place for the cut is looked for
_HOP = RATE // 50


@dataclass(frozen=True)
class Repair:
    """lag_frames: that the beginning is off by; moves: further delays; longer, retime: see
    media.align.write_aligned."""

    lag_frames: float
    moves: list[Move] = field(default_factory=list)
    longer: float = 1.0
    retime: float = 1.0
    notes: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not self.lag_frames and not self.moves and self.longer == 1 and self.retime == 1


def plan_repair(report: ScoreReport, sound: np.ndarray | None = None, retime: bool = False) -> Repair:
    """What mends a report's file. sound: float [N] at 16 kHz from the first picture, to cut where it is quiet.

    retime: mend a drift by the picture's time stamps instead of the sound. Raises SyncLipError with the reason where
    moving sound mends nothing.
    """
    if not report.stretches:
        lag = report.repair_frames
        if lag is None:
            raise SyncLipError(f"{report.file}: {report.words}. There is no lag to repair.")
        return Repair(lag)
    lines = [s for s in report.stretches if s["state"] in MATCHED]
    if not lines:
        raise SyncLipError(f"{report.file}: {report.words}. There is no lag to repair.")
    notes = [
        f"{s['start_s']:.1f} to {s['end_s']:.1f} s: {_OTHER[s['state']]}, which moving the sound does not mend"
        for s in report.stretches
        if s["state"] in _OTHER and (s["state"] != STILL or s["speech_s"] >= 0.5)
    ]
    sloped = [s for s in lines if s["drift_ms_per_s"] and s["state"] != IN_SYNC]
    if sloped:
        if report.verdict != "drift":
            raise SyncLipError(f"{report.file}: {report.words}. The lag drifts in a part of it; cut it there first.")
        return _drift(sloped[0], retime, notes)
    lags = [0.0 if s["state"] == IN_SYNC else s["lag_frames"] for s in lines]
    moves = []
    for before, after, lag_before, lag_after in zip(lines, lines[1:], lags, lags[1:], strict=False):
        if abs(lag_after - lag_before) > 1e-6:
            at = quiet_place(sound, (before["end_s"] + after["start_s"]) / 2, after["start_s"] - before["end_s"])
            moves.append(Move(at, (lag_after - lag_before) * MS / 1000))
            what = "silence put in" if lag_after > lag_before else "the two parts overlap and are cross-faded"
            notes.append(f"cut at {at:.2f} s: {abs(lag_after - lag_before) * MS:.0f} ms, {what}")
    plan = Repair(lags[0], moves, notes=notes)
    if plan.nothing and report.verdict != IN_SYNC:
        raise SyncLipError(f"{report.file}: {report.words}. Where the lips follow, the sound is right already.")
    return plan


_OTHER = {
    NOT_FOLLOWING: "the lips do not follow the voice",
    STILL: "the picture stands still",
    MOVES_IN_SILENCE: "the mouth moves without a voice",
}


def _drift(line: dict[str, Any], retime: bool, notes: list[str]) -> Repair:
    slope, start = line["drift_ms_per_s"] / 1000, line["lag_frames"]
    at_zero = start - slope * line["start_s"] * FPS
    if retime:
        return Repair(at_zero / (1 + slope), retime=1 / (1 + slope), notes=notes)
    if rate_guess(slope):
        notes = [
            *notes,
            f"{rate_guess(slope)[2:]} If so, --retime mends the picture's time stamps and leaves the sound",
        ]
    return Repair(at_zero, longer=1 + slope, notes=notes)


def quiet_place(sound: np.ndarray | None, middle: float, room: float = 0.0) -> float:
    """Seconds: the quietest fiftieth of a second within half a second of a border (or in the gap that it lies in)."""
    if sound is None:
        return middle
    reach = max(_AROUND_S, room / 2)
    low, high = max(0, round((middle - reach) * RATE)), round((middle + reach) * RATE)
    part = sound[low:high]
    if len(part) < 3 * _HOP:
        return middle
    level = np.square(part[: len(part) // _HOP * _HOP].reshape(-1, _HOP)).mean(1)
    smooth = np.convolve(level, np.ones(3) / 3, "same")
    smooth[[0, -1]] = np.inf
    return low / RATE + (int(smooth.argmin()) + 0.5) * _HOP / RATE


def repair(
    src: str | Path,
    dst: str | Path,
    report: ScoreReport,
    *,
    audio: str = "encode",
    all_tracks: bool = False,
    retime: bool = False,
) -> AlignReport:
    """Write `src` to `dst` with what `report` found put right. all_tracks: they all move, not the judged one alone.

    Raises SyncLipError with the reason where there is nothing that moving sound would mend.
    """
    number = report.audio_track or 0
    sound = read_audio(src, track=number) if len(report.stretches) > 1 else None
    plan = plan_repair(report, sound, retime)
    done = write_aligned(
        src,
        dst,
        plan.lag_frames,
        audio=audio,
        tracks=None if all_tracks else {number},
        moves=plan.moves,
        longer=plan.longer,
        retime=plan.retime,
    )
    done.notes[:0] = plan.notes
    return done
