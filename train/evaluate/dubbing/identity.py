"""Is it still the same person? The cosine of a judge's identity tokens, seen from the mean of many people."""

from collections.abc import Mapping

import numpy as np

from synclip_core.tokens.streams import TokenStreams

LEAST_PEOPLE = 3  # from the mean of two, each is the other's opposite


class People:
    """tokens: who -> a video of theirs. What all faces share is most of a token, and leaves any two alike at 0.99: the
    mean of the people is taken off, so that strangers come near 0."""

    def __init__(self, tokens: Mapping[str, TokenStreams]) -> None:
        self._tokens = {who: seen for who, seen in tokens.items() if seen.valid.any()}
        means = [seen.identity[seen.valid].mean(0) for seen in self._tokens.values()]
        self._mean = np.mean(means, 0) if len(means) >= LEAST_PEOPLE else None

    def __len__(self) -> int:
        return len(self._tokens)

    def alike(self, a: TokenStreams, b: TokenStreams) -> float:
        """Mean cosine of the frames that show both; NaN without such, or of too few people."""
        count = min(len(a.valid), len(b.valid))
        both = a.valid[:count] & b.valid[:count]
        if self._mean is None or not both.any():
            return float("nan")
        x, y = (tokens.identity[:count][both] - self._mean for tokens in (a, b))
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        return float(((x * y).sum(1) / np.maximum(lengths, 1e-9)).mean())

    def strangers(self, tokens: TokenStreams, who: str) -> float:
        """How alike others are on average; NaN where there are none."""
        found = [self.alike(tokens, seen) for other, seen in self._tokens.items() if other != who]
        return float(np.mean(found)) if found else float("nan")
