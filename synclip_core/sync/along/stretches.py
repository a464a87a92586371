"""What each part of a clip is: on which lag, without a match, still, silent, without a face; as stretches in a row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...media.speech import runs as runs_of
from ...metrics.distance import FPS
from .evidence import Evidence
from .look import MOTION, OPEN
from .path import Run, along, lag_prior
from .tolerance import Tolerance

IN_SYNC, AUDIO_EARLY, AUDIO_LATE = "in_sync", "audio_early", "audio_late"
NOT_FOLLOWING, STILL, MOVES_IN_SILENCE = "does_not_follow", "still", "moves_in_silence"
NO_FACE, NO_SPEECH, CANNOT_TELL = "no_face", "no_speech", "cannot_tell"
STATES = (
    IN_SYNC, AUDIO_EARLY, AUDIO_LATE, NOT_FOLLOWING, STILL, MOVES_IN_SILENCE, NO_FACE, NO_SPEECH, CANNOT_TELL,
)  # fmt: skip
MATCHED = (IN_SYNC, AUDIO_EARLY, AUDIO_LATE)
MS = 1000 / FPS

STILL_GREY = 0.3  # mean change of a face's crop, grey levels: live faces never stay under 0.48 for 0.6 s (val, test)
CALM_GREY = 1.0  # around such a run: the crop still settles for a moment when the picture stops
STILL_TICKS = 20  # 0.8 s
_GAP = 2  # ticks: a refreshed key frame of a still picture moves for a moment
_AGAIN = 0.8  # probability that a stretch has a lag that the file has elsewhere
STANDS_OUT = 6.0  # robust deviations: another person's voice stayed under 5.3 on 126 pairs of clips (val)
MOUTH = 0.012  # spread of the lips' gap over a second, of the face's height: 3 of 4 spoken seconds have more
_AROUND, MOVES_TICKS = 12, 25  # ticks
LEAST = {NO_FACE: 25, NO_SPEECH: 50, MOVES_IN_SILENCE: 50}  # ticks; what is shorter is a pause, no stretch
_SHORT = 10  # ticks: shorter remains between stretches go to a neighbour


@dataclass(frozen=True)
class Stretch:
    """start_s, end_s from the first frame. lag_frames: at its start, at 25 fps, above 0 the audio is early; None
    without a match. slope: frames a frame, 0 where the lag stays. confidence: probability that the lag is right within
    a frame, or that no lag is (does_not_follow); None where nothing is claimed. nats: evidence for it. speech_s: speech
    in it."""

    start_s: float
    end_s: float
    state: str
    lag_frames: float | None = None
    slope: float = 0.0
    confidence: float | None = None
    nats: float = 0.0
    speech_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    @property
    def lag_end_frames(self) -> float | None:
        return None if self.lag_frames is None else self.lag_frames + self.slope * self.seconds * FPS

    @property
    def worst_frames(self) -> float | None:
        """The lag at its worse end."""
        if self.lag_frames is None or self.lag_end_frames is None:
            return None
        return max(self.lag_frames, self.lag_end_frames, key=abs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""

        def ms(frames: float | None) -> int | None:
            return None if frames is None else round(frames * MS)

        return {
            "start_s": round(self.start_s, 2),
            "end_s": round(self.end_s, 2),
            "state": self.state,
            "lag_frames": None if self.lag_frames is None else round(self.lag_frames, 2),
            "lag_ms": ms(self.lag_frames),
            "lag_end_ms": ms(self.lag_end_frames),
            "drift_ms_per_s": round(self.slope * 1000, 2),
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "speech_s": round(self.speech_s, 2),
        }


def still_ticks(look: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """bool [T]: ticks of a picture that stands still for 0.8 s or more. look: [T, 5] of `sync.look`."""
    motion = np.nan_to_num(look[:, MOTION], nan=np.inf)
    calm = valid & (motion < STILL_GREY)
    if len(calm) > 1:
        calm[0] = calm[1]  # the first frame has none before it
    for begin, end in runs_of(calm, False):
        if begin > 0 and end < len(calm) and end - begin <= _GAP and valid[begin:end].all():
            calm[begin:end] = True
    for begin, end in runs_of(calm, True):
        if end - begin < STILL_TICKS:
            calm[begin:end] = False
    for begin, end in runs_of(valid & (motion < CALM_GREY), True):
        calm[begin:end] = calm[begin:end].any()
    return calm


def moving_mouth(look: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """bool [T]: ticks around which the lips open and close as they do in speech."""
    gap = np.where(valid, np.nan_to_num(look[:, OPEN]), 0.0)
    if len(gap) < 25:
        return np.zeros(len(gap), bool)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(gap, _AROUND, mode="edge"), 25)
    whole = np.lib.stride_tricks.sliding_window_view(np.pad(valid, _AROUND, mode="edge"), 25).all(1)
    return np.asarray((windows.std(1) > MOUTH) & whole)


def mouth_moves(look: np.ndarray, valid: np.ndarray) -> list[tuple[float, float]]:
    """From when to when [s] the lips open and close as they do in speech, for 1 s or more: `moving_mouth` feels a
    movement half a second before and after it, which is taken off."""
    spans = [(begin + _AROUND, end - _AROUND) for begin, end in runs_of(moving_mouth(look, valid), True)]
    return [(round(a / FPS, 2), round(b / FPS, 2)) for a, b in spans if b - a >= MOVES_TICKS]


@dataclass(frozen=True)
class Masks:
    """bool [T] each, by the clip's clock."""

    valid: np.ndarray
    speech: np.ndarray
    still: np.ndarray
    moving: np.ndarray


def curve_on(nats: np.ndarray, run: Run) -> np.ndarray:
    """Evidence of the run's ticks at every lag, [lags]; of a slope: relative to its own line, which is then lag 0."""
    if run.lag is None or not run.slope:
        return nats[run.start : run.end].sum(0, dtype=np.float64)
    reach = nats.shape[1] // 2
    return np.array([along(nats, run.start, run.end, run.lag + k, run.slope).sum() for k in range(-reach, reach + 1)])


def match_odds(nats: np.ndarray, run: Run) -> float:
    """Log odds of "the lag is the run's, within a frame" against all else, fits nowhere among it."""
    reach = nats.shape[1] // 2
    values = curve_on(nats, run)
    prior = lag_prior(reach)
    best = reach if run.slope else round(run.lag or 0) + reach
    values = values + (
        prior[np.abs(np.arange(-reach, reach + 1) + (run.lag or 0)).astype(int).clip(0, reach)] if run.slope else prior
    )
    near = slice(max(best - 1, 0), best + 2)
    inside = float(np.logaddexp.reduce(values[near]))
    rest = np.concatenate([values[: near.start], values[near.stop :], [np.log(0.2)]])
    return inside - float(np.logaddexp.reduce(rest))


def stands_out(nats: np.ndarray, start: int, end: int) -> float:
    """By how many robust deviations the best lag's evidence exceeds the usual lag's: a weak but steady match does."""
    sums, pairs, enough = _by_lag(nats, start, end)
    if not enough.any():
        return 0.0
    values = (sums / np.maximum(pairs, 1))[enough]
    middle = np.median(values)
    return float((values.max() - middle) / (1.4826 * np.median(np.abs(values - middle)) + 1e-9))


def _by_lag(nats: np.ndarray, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of ticks [start, end): evidence and number of pairs of each lag, and which lags have half of the most pairs. Far
    lags look beyond the ends of a file: what has few pairs speaks neither way."""
    part = nats[start:end]
    pairs = (part != 0).sum(0)
    return part.sum(0, dtype=np.float64), pairs, pairs >= max(1, pairs.max() / 2)


def doubt_of(nats: np.ndarray, start: int, end: int, known: Sequence[float] = ()) -> float:
    """Log odds of "fits nowhere" against "fits at some lag", for ticks [start, end). known: lags that the rest of the
    file has; where there are any, the stretch would have one of them four times in five."""
    if end <= start or stands_out(nats, start, end) >= STANDS_OUT:
        return 0.0
    reach = nats.shape[1] // 2
    prior = lag_prior(reach)
    if known:
        prior += np.log(1 - _AGAIN)
        for lag in known:
            place = min(max(round(lag) + reach, 0), 2 * reach)
            prior[place] = np.logaddexp(prior[place], np.log(_AGAIN / len(known)))
    values, _, enough = _by_lag(nats, start, end)
    return -float(np.logaddexp.reduce((values + prior)[enough])) if enough.any() else 0.0


def find_stretches(
    nats: np.ndarray,
    runs: list[Run],
    masks: Masks,
    evidence: Evidence,
    tolerance: Tolerance,
    quality: tuple[float, float] = (0.0, 0.0),
    cost: float = 0.0,
) -> list[Stretch]:
    """The whole clip as stretches in a row. runs: of `path.find_runs`; quality: face size and turn, for confidence;
    cost: nats off the odds of every match."""
    length = len(nats)
    label = np.full(length, -1)  # index into `told`, or one of the causes below
    told: list[tuple[Run, str, float | None]] = []
    known = sorted({round(run.lag) for run in runs if run.lag is not None and not run.slope})
    for run in runs:
        state, sure = _state_of(nats, run, evidence, tolerance, quality, cost, known)
        label[run.start : run.end] = len(told)
        told.append((run, state, sure))
    causes = (NO_SPEECH, MOVES_IN_SILENCE, STILL, NO_FACE)
    silent = _lasting(~masks.speech, LEAST[NO_SPEECH])
    moves = _lasting(silent & masks.moving, LEAST[MOVES_IN_SILENCE])
    gone = _lasting(~masks.valid, LEAST[NO_FACE])
    for code, mask in zip(range(-2, -6, -1), (silent, moves, masks.still, gone), strict=True):
        label[mask] = code
    return _tidy(_collect(nats, label, told, causes, masks))


def _state_of(
    nats: np.ndarray,
    run: Run,
    evidence: Evidence,
    tolerance: Tolerance,
    quality: tuple[float, float],
    cost: float,
    known: Sequence[float],
) -> tuple[str, float | None]:
    if run.lag is None:
        doubt = doubt_of(nats, run.start, run.end, known)
        return (NOT_FOLLOWING, 1 / (1 + np.exp(-doubt))) if doubt >= evidence.doubt else (CANNOT_TELL, None)
    judged_s = float(nats[run.start : run.end].any(1).sum()) / FPS
    sure = evidence.probability(match_odds(nats, run) - cost, judged_s, *quality)
    if sure < evidence.answer:
        return CANNOT_TELL, None
    ends = (run.lag, run.lag + run.slope * (run.end - run.start))
    worst = max(ends, key=abs) * MS
    if all(tolerance.holds(v * MS) for v in ends):
        return IN_SYNC, sure
    return (AUDIO_EARLY if worst > 0 else AUDIO_LATE), sure


def _lasting(mask: np.ndarray, ticks: int) -> np.ndarray:
    kept = mask.copy()
    for begin, end in runs_of(mask, True):
        if end - begin < ticks:
            kept[begin:end] = False
    return kept


def _collect(
    nats: np.ndarray,
    label: np.ndarray,
    told: list[tuple[Run, str, float | None]],
    causes: tuple[str, ...],
    masks: Masks,
) -> list[Stretch]:
    edges = np.flatnonzero(np.diff(label)) + 1
    found = []
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(label)], strict=True):
        if end == start:
            continue
        speech_s = float(masks.speech[start:end].sum()) / FPS
        code = int(label[start])
        if code < 0:
            state = CANNOT_TELL if code == -1 else causes[-code - 2]
            found.append(Stretch(start / FPS, end / FPS, state, speech_s=speech_s))
            continue
        run, state, sure = told[code]
        lag, slope, support = None, 0.0, 0.0
        if state in MATCHED:
            lag, slope = float(run.at(np.array(start))), run.slope
            support = float(along(nats, start, end, lag, slope).sum())
        found.append(Stretch(start / FPS, end / FPS, state, lag, slope, sure, support, speech_s))
    return found


def _tidy(stretches: list[Stretch]) -> list[Stretch]:
    """Slivers go to the neighbour before (or after, at the start); equal neighbours become one."""
    kept: list[Stretch] = []
    for k, s in enumerate(stretches):
        sliver = s.seconds * FPS < _SHORT and len(stretches) > 1
        if sliver and kept:
            kept[-1] = _joined(kept[-1], s)
        elif sliver and k + 1 < len(stretches):
            after = stretches[k + 1]
            lag = None if after.lag_frames is None else after.lag_frames - after.slope * s.seconds * FPS
            stretches[k + 1] = replace(after, start_s=s.start_s, lag_frames=lag, speech_s=s.speech_s + after.speech_s)
        elif kept and _alike(kept[-1], s):
            kept[-1] = _joined(kept[-1], s)
        else:
            kept.append(s)
    return kept


def _alike(a: Stretch, b: Stretch) -> bool:
    same = a.state == b.state and a.slope == b.slope
    return same and (a.lag_frames is None or abs((a.lag_end_frames or 0) - (b.lag_frames or 0)) < 0.5)


def _joined(a: Stretch, b: Stretch) -> Stretch:
    return replace(a, end_s=b.end_s, nats=a.nats + b.nats, speech_s=a.speech_s + b.speech_s)
