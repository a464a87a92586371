"""Joint CTC and attention beam search (Watanabe et al. 2017): the decoder proposes, CTC keeps it to what was seen."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..clock import FPS
from ..files.settings import Count, Positive, Share
from .ctc import PrefixScorer
from .network import BLANK, LipReader


@dataclass(frozen=True)
class SearchOptions:
    """beam: texts kept at each length, 1 is greedy. ctc_weight: share of the CTC score, 0..1. length_bonus: added for
    each unit, against the decoder's liking for short texts. longest: units a second of video."""

    beam: Count = 8
    ctc_weight: Share = 0.4
    length_bonus: float = 0.0
    longest: Positive = 30.0


@dataclass
class Hypothesis:
    """units: int, without BLANK. score: weighted log probability with the bonus; log_prob: without it."""

    units: list[int]
    score: float
    log_prob: float
    attention: float = 0.0
    state: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)), repr=False)


@torch.inference_mode()
def search(reader: LipReader, hidden: Tensor, options: SearchOptions | None = None) -> list[Hypothesis]:
    """Texts of one clip, the best first. hidden: [1, T, width] of `encode`, ticks with a face only.

    Never fails on short clips: a clip without rows reads as the empty text.
    """
    options = options or SearchOptions()
    if not hidden.shape[1]:
        return [Hypothesis([], 0.0, 0.0)]
    weight, bonus = options.ctc_weight, options.length_bonus
    scorer = PrefixScorer(reader.ctc_log_probs(hidden)[0].double().cpu().numpy(), BLANK)
    units = np.arange(1, reader.config.classes)
    valid = torch.ones(1, hidden.shape[1], dtype=torch.bool, device=hidden.device)
    alive = [Hypothesis([], 0.0, 0.0, 0.0, scorer.start())]
    ended: list[Hypothesis] = []
    longest = min(len(scorer.rows), int(np.ceil(options.longest * hidden.shape[1] / FPS)))
    for _ in range(longest + 1):
        before = torch.tensor([[BLANK, *h.units] for h in alive], device=hidden.device)
        spread = (len(alive), -1, -1)
        follow = reader.next_log_probs(hidden.expand(*spread), valid.expand(*spread[:2]), before)[:, -1]
        attention = follow.double().cpu().numpy()
        last = np.array([h.units[-1] if h.units else BLANK for h in alive])
        ctc, states = scorer.extend(np.stack([h.state for h in alive]), last, units)
        said = np.array([h.attention for h in alive])[:, None] + attention
        for h, whole in zip(alive, said[:, BLANK], strict=True):
            ended.append(_scored(h.units, whole, scorer.end(h.state), weight, bonus))
        scores = weight * ctc + (1 - weight) * said[:, units]  # all are one unit longer: the bonus makes no difference
        grown: list[Hypothesis] = []
        for place in np.argsort(-scores, axis=None, kind="stable")[: options.beam]:
            i, k = np.unravel_index(place, scores.shape)
            more = _scored([*alive[i].units, int(units[k])], float(said[i, units[k]]), float(ctc[i, k]), weight, bonus)
            more.state = states[i, k]
            grown.append(more)
        alive = grown
        ended = sorted(ended, key=lambda h: -h.score)[: options.beam]
        # a longer text is never likelier; only the bonus could still lift it
        left = longest - len(alive[0].units)
        if len(ended) == options.beam and alive[0].score + max(bonus, 0) * left < ended[0].score:
            break
    return ended


def _scored(units: list[int], attention: float, ctc: float, weight: float, bonus: float) -> Hypothesis:
    log_prob = weight * ctc + (1 - weight) * attention
    return Hypothesis(units, log_prob + bonus * len(units), log_prob, attention)
