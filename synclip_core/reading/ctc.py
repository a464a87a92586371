"""CTC (Graves et al. 2006): what a text is worth under the rows, and when its units were said."""

import numpy as np

NEVER = -1e30  # log of a probability that is zero: finite, so that differences stay numbers


class PrefixScorer:
    """Log probability of every text that begins with a prefix (Watanabe et al. 2017, algorithm 2).

    log_probs: float [R, classes], blank first. A state is float [R, 2]: paths that end on row r in the prefix's last
    unit, or in a blank.
    """

    def __init__(self, log_probs: np.ndarray, blank: int = 0) -> None:
        self.rows = np.maximum(log_probs.astype(np.float64), NEVER)
        self.blank = blank

    def start(self) -> np.ndarray:
        """State of the empty prefix."""
        return np.stack([np.full(len(self.rows), NEVER), np.cumsum(self.rows[:, self.blank])], 1)

    def extend(self, states: np.ndarray, last: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every prefix with each of `units` [n] behind it: scores float [H, n] and states [H, n, R, 2].

        states: [H, R, 2]; last: int [H], the prefixes' last units, `blank` for an empty one.
        """
        length, count = len(self.rows), len(states)
        own, blank = self.rows[:, units], self.rows[:, self.blank]
        # a unit begins after the whole prefix; a repeated one needs a blank in between
        whole = np.logaddexp(states[:, :, 0], states[:, :, 1])
        again = units[None] == last[:, None]
        said = np.full((length, count, len(units)), NEVER)
        rest = np.full((length, count, len(units)), NEVER)
        said[0, last == self.blank] = own[0]
        begun = [said[0]]  # log probability that the unit begins on row r
        for r in range(1, length):
            begun.append(np.where(again, states[:, r - 1, 1, None], whole[:, r - 1, None]) + own[r])
            said[r] = np.logaddexp(said[r - 1] + own[r], begun[r])
            rest[r] = np.logaddexp(said[r - 1], rest[r - 1]) + blank[r]
        score = np.logaddexp.reduce(np.stack(begun), 0)
        return np.maximum(score, NEVER), np.stack([said, rest], -1).transpose(1, 2, 0, 3)

    def end(self, state: np.ndarray) -> float:
        """Log probability that the prefix is the whole text."""
        return float(np.logaddexp(state[-1, 0], state[-1, 1]))


def align(log_probs: np.ndarray, text: np.ndarray, blank: int = 0) -> np.ndarray | None:
    """The rows on which each unit of a text is said, by the likeliest path (Viterbi).

    log_probs: float [R, classes]; text: int [L]. Returns int [L, 2]: first row and the one after the last; None where
    the text does not fit into the rows.
    """
    if not len(text):
        return np.zeros((0, 2), np.int64)
    length = 2 * len(text) + 1  # states: blank, unit, blank, ... blank
    states = np.full(length, blank)
    states[1::2] = text
    skip = np.zeros(length, bool)  # a state that may follow the one before the last: another unit, no blank between
    skip[3::2] = text[1:] != text[:-1]
    best = np.full(length, -np.inf)
    best[:2] = log_probs[0, states[:2]]
    step = np.zeros((len(log_probs), length), np.int8)
    for r in range(1, len(log_probs)):
        one, two = np.roll(best, 1), np.roll(best, 2)
        one[:1], two[:2] = -np.inf, -np.inf
        choices = np.stack([best, one, np.where(skip, two, -np.inf)])
        step[r] = choices.argmax(0)
        best = choices.max(0) + log_probs[r, states]
    at = length - 1 if best[-1] >= best[-2] else length - 2
    if not np.isfinite(best[at]):
        return None
    path = np.empty(len(log_probs), np.int64)
    for r in range(len(log_probs) - 1, -1, -1):
        path[r] = at
        at -= step[r, at]
    spans = np.zeros((len(text), 2), np.int64)
    for k in range(len(text)):
        rows = np.flatnonzero(path == 2 * k + 1)
        spans[k] = rows[0], rows[-1] + 1
    return spans
