"""Lag as a function of time: the likeliest chain of constant stretches, slopes and stretches that fit nowhere.

One dynamic program (Viterbi) over blocks of 0.2 s. A state is a lag together with a slope (a clock that runs fast or
slow moves the lag on by itself), or "fits nowhere", whose evidence is 0 by definition of the likelihood ratio. To
change the state costs what such a change is unlikely by; without a change the path goes on through silence and gaps,
where there is no evidence either way.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BLOCK = 5  # ticks
_PERCENT = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.4, 2.8, 3.2, 3.6, 4.0, 4.4)
SLOPES = np.array([0.0, *(s * p / 100 for p in _PERCENT for s in (1, -1))])  # frames of lag a tick
NEAR = 15  # frames: lags that most files have
_FAR_SHARE = 0.1  # prior probability of a lag beyond it
_CHANGE = 0.2 / 20  # a block: something changes every 20 s, before anything is known
_DRIFT, _NOWHERE = 0.02, 0.2  # prior probability that a stretch slopes, that it fits nowhere
_REFINE = 25  # ticks to either side in which a border is placed anew


@dataclass(frozen=True)
class Run:
    """Ticks [start, end) on one line: lag + slope * (u - start) frames, lag None where they fit nowhere. nats: of
    it."""

    start: int
    end: int
    lag: float | None
    slope: float = 0.0
    nats: float = 0.0

    def at(self, ticks: np.ndarray) -> np.ndarray:
        """The lag at each tick, frames; only where there is one."""
        assert self.lag is not None
        return self.lag + self.slope * (ticks - self.start)


def lag_prior(reach: int) -> np.ndarray:
    """log probability of each lag before anything is known, [2 reach + 1]: usual ones share 0.9 evenly."""
    lags = np.abs(np.arange(-reach, reach + 1))
    usual = lags <= NEAR
    if usual.all():
        return np.full(len(lags), -np.log(len(lags)))
    return np.log(np.where(usual, (1 - _FAR_SHARE) / usual.sum(), _FAR_SHARE / (~usual).sum()))


def change_cost(reach: int) -> float:
    """Nats that a second line must bring more than one alone."""
    return float(-np.log(_CHANGE) - lag_prior(reach)[reach])


def find_runs(nats: np.ndarray) -> list[Run]:
    """The likeliest path through `pair_nats` [T, 2 reach + 1], borders placed to the tick. Empty for no ticks."""
    if not len(nats):
        return []
    runs = _smooth(nats, _borders(nats, _viterbi(nats)))
    return [run for run in runs if run.end > run.start]


def _viterbi(nats: np.ndarray) -> list[Run]:
    ticks, lags = nats.shape
    reach = lags // 2
    count = -(-ticks // BLOCK)
    blocks = np.add.reduceat(nats, np.arange(0, ticks, BLOCK), axis=0).astype(np.float64)
    steps = np.round(SLOPES[None] * BLOCK * np.arange(count + 1)[:, None]).astype(int)
    share = np.full(len(SLOPES), np.log(_DRIFT / (len(SLOPES) - 1)))
    share[0] = np.log(1 - _DRIFT - _NOWHERE)
    enter = share[:, None] + lag_prior(reach)[None]  # log prior of each state
    nowhere = np.log(_NOWHERE)

    score, empty = enter + blocks[0], nowhere
    jumped = np.zeros((count, len(SLOPES), lags), bool)
    empty_jumped = np.zeros(count, bool)
    before = np.zeros((count, 2), int)  # the state that a jump into a block comes from; slope -1: nowhere
    for t in range(1, count):
        flat = int(score.argmax())
        best = float(score.flat[flat])
        before[t] = divmod(flat, lags) if best >= empty else (-1, 0)
        jump = max(best, empty) + np.log(_CHANGE)
        moved = steps[t] - steps[t - 1]
        stay = score.copy()
        for k in np.flatnonzero(moved):
            stay[k] = np.roll(score[k], moved[k])
            stay[k, : moved[k]] = -np.inf
            if moved[k] < 0:
                stay[k, moved[k] :] = -np.inf
                stay[k, : lags + moved[k]] = score[k, -moved[k] :]
        fresh = enter + jump
        jumped[t] = fresh > stay
        score = np.where(jumped[t], fresh, stay) + blocks[t]
        empty_jumped[t] = jump + nowhere > empty
        empty = max(empty, jump + nowhere)

    flat = int(score.argmax())
    state: tuple[int, int] = (flat // lags, flat % lags) if score.flat[flat] >= empty else (-1, 0)
    runs: list[Run] = []
    end = count
    for t in range(count - 1, -1, -1):
        kind, at = state
        leaves = t == 0 or (empty_jumped[t] if kind < 0 else jumped[t, kind, at])
        if leaves:
            line = (None, 0.0) if kind < 0 else (float(at - reach), float(SLOPES[kind]))
            runs.append(Run(t * BLOCK, min(end * BLOCK, ticks), *line))
            end, state = t, (int(before[t, 0]), int(before[t, 1]))
        elif kind >= 0:
            state = (kind, at - int(steps[t, kind] - steps[t - 1, kind]))
    return runs[::-1]


def along(nats: np.ndarray, start: int, end: int, lag: float, slope: float = 0.0) -> np.ndarray:
    """Evidence of ticks [start, end) on a line, between lags by interpolation, float64 [end - start]; 0 off the
    band."""
    reach = nats.shape[1] // 2
    ticks = np.arange(start, end)
    place = lag + slope * (ticks - start) + reach
    low = np.floor(place).astype(int)
    part = place - low
    inside = (low >= 0) & (low < nats.shape[1])
    low = np.clip(low, 0, nats.shape[1] - 1)
    high = np.minimum(low + 1, nats.shape[1] - 1)
    return np.where(inside, (1 - part) * nats[ticks, low] + part * nats[ticks, high], 0.0)


def _on(nats: np.ndarray, run: Run, start: int, end: int) -> np.ndarray:
    """Evidence of other ticks on the line of a run."""
    if run.lag is None:
        return np.zeros(end - start)
    return along(nats, start, end, run.lag + run.slope * (start - run.start), run.slope)


def _borders(nats: np.ndarray, runs: list[Run]) -> list[Run]:
    """Blocks are coarse: each border moves to where it lies on average, by the evidence of either side around it."""
    edges = [run.start for run in runs] + [len(nats)]
    for k, (left, right) in enumerate(pairwise(runs), 1):
        low, high = max(edges[k] - _REFINE, edges[k - 1] + 1), min(edges[k] + _REFINE, edges[k + 1] - 1)
        if high <= low:
            continue
        gain = np.cumsum(_on(nats, left, low, high) - _on(nats, right, low, high))
        value = np.concatenate([[0.0], gain])
        weight = np.exp(value - value.max())
        edges[k] = low + round(float(weight @ np.arange(len(value)) / weight.sum()))
    return [_moved(run, edges[k], edges[k + 1]) for k, run in enumerate(runs)]


def _moved(run: Run, start: int, end: int) -> Run:
    lag = None if run.lag is None else run.lag + run.slope * (start - run.start)
    return Run(start, end, lag, run.slope, run.nats)


def fit_line(nats: np.ndarray, start: int, end: int, around: Run | None = None) -> Run:
    """The best line through ticks [start, end): constant at a whole lag, unless a slope is much likelier.

    A slope must bring its prior improbability, and move the lag by a frame at least; otherwise it is no finding.
    """
    reach = nats.shape[1] // 2
    total = nats[start:end].sum(0, dtype=np.float64)
    lag = int(total.argmax()) - reach
    constant = Run(start, end, float(lag), 0.0, float(total[lag + reach]))
    centre, ticks = (start + end - 1) / 2, end - start
    guesses = (
        [(around.lag + around.slope * (centre - around.start), around.slope)]
        if around and around.lag is not None
        else []
    )
    guesses.append((float(lag), 0.0))
    best, width = None, max(1.0 / ticks, 0.001)
    for middle, slope in guesses:
        found = _climb(nats, start, end, centre, middle, slope, width)
        best = found if best is None or found.nats > best.nats else best
    assert best is not None
    sure = best.nats > constant.nats - np.log(_DRIFT / len(SLOPES))
    return best if sure and abs(best.slope) * ticks >= 1.5 else constant


def _climb(nats: np.ndarray, start: int, end: int, centre: float, middle: float, slope: float, width: float) -> Run:
    """Coarse to fine around a guess of (lag at the centre, slope)."""
    step_lag, step_slope = 1.0, 2 * width
    value = -np.inf
    for _ in range(8):
        options = [
            (float(along(nats, start, end, m - s * (centre - start), s).sum()), m, s)
            for m in middle + step_lag * np.arange(-2, 3)
            for s in slope + step_slope * np.arange(-3, 4)
        ]
        value, middle, slope = max(options)
        step_lag, step_slope = step_lag / 2, step_slope / 2
    return Run(start, end, middle - slope * (centre - start), slope, value)


def _kind(run: Run) -> float:
    """log probability of a constant, of a slope, before anything is known."""
    return float(np.log(_DRIFT / len(SLOPES) if run.slope else 1 - _DRIFT - _NOWHERE))


def _smooth(nats: np.ndarray, runs: list[Run]) -> list[Run]:
    """Every line anew on its own ticks; neighbours become one where one line is likelier than two."""
    cost = change_cost(nats.shape[1] // 2)
    fitted = [run if run.lag is None else fit_line(nats, run.start, run.end, run) for run in runs]
    k = 0
    while k + 1 < len(fitted):
        a, b = fitted[k], fitted[k + 1]
        if a.lag is not None and b.lag is not None:
            middle_a, middle_b = (a.start + a.end) / 2, (b.start + b.end) / 2
            tie = (float(b.at(np.array(middle_b))) - float(a.at(np.array(middle_a)))) / max(middle_b - middle_a, 1)
            guess = Run(a.start, b.end, float(a.at(np.array(middle_a))) + tie * (a.start - middle_a), tie)
            one = fit_line(nats, a.start, b.end, guess)
            if one.nats + _kind(one) + cost > a.nats + _kind(a) + b.nats + _kind(b):
                fitted[k : k + 2] = [one]
                k = max(k - 1, 0)
                continue
        k += 1
    return fitted
