"""Cross-covariance decorrelation of the three factors (SyncLipMAE, section 3.3)."""

from itertools import combinations

import torch
from torch import Tensor, nn


def cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    """a, b: [N, D] tokens of the same N frames. Returns [D, D], each column of each centered along the batch and time
    axis and brought to deviation 1: the cross-covariance, free of the tokens' scale."""
    return standardised(a).T @ standardised(b) / len(a)


def standardised(tokens: Tensor) -> Tensor:
    """[N, D] with mean 0 and mean square 1 a column; a column that does not vary stays 0."""
    centered = tokens - tokens.mean(0, keepdim=True)
    return centered / centered.square().mean(0, keepdim=True).clamp_min(1e-8).sqrt()


def decorrelation_loss(*factors: Tensor) -> Tensor:
    """Sum over pairs of factors of the squared Frobenius norm of their cross-covariance, of standardised tokens.

    factors: [N, D] tokens of the same N frames. Two identical factors give D, two independent ones about D * D / N:
    with few frames most of it is chance, see CrossCovariance.
    """
    pairs = list(combinations(factors, 2))
    return torch.stack([redundancy(a, b) * cross_correlation(a, b).square().sum() for a, b in pairs]).sum()


@torch.no_grad()
def redundancy(a: Tensor, b: Tensor) -> Tensor:
    """What makes the norm of two copies D, however much their dimensions say the same; 1 where they say nothing of one
    another. Tokens of a young network lie near a line: without this they would count up to D times as much, and the
    quickest way down is a token that never varies (the RV coefficient of Robert and Escoufier, times D)."""
    norms = torch.stack([cross_correlation(x, x).norm() for x in (a, b)])
    return a.shape[1] / norms.prod().clamp_min(1e-8)


class CrossCovariance(nn.Module):
    """The same loss over many steps: a step has a few dozen people, the factors of a person need hundreds.

    A running mean of each pair's cross-correlation stands for the frames of the steps before; the gradient goes through
    this step's frames alone: d/dx of |C|^2 with C the running mean. Buffers are state of a run (train/pretrain/run.py).
    """

    mean: Tensor
    steps: Tensor

    def __init__(self, dim: int, pairs: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(pairs, dim, dim))
        self.register_buffer("steps", torch.zeros(()))
        self._seen: list[Tensor] = []  # of the step that is going on, one a part of its batch

    def forward(self, *factors: Tensor) -> Tensor:
        """As `decorrelation_loss`. Nothing is remembered until `commit`: the shares of a step all see the same past."""
        pairs = list(combinations(factors, 2))
        own = torch.stack([cross_correlation(a, b) for a, b in pairs])
        counts = torch.stack([redundancy(a, b) for a, b in pairs])[:, None, None]
        decay = self._decay()
        mixed = (decay * self.mean + (1 - decay) * own).detach()
        self._seen.append(own.detach())
        value = (counts * mixed.square()).sum()
        slope = 2 * (counts * mixed * own).sum()
        return value + slope - slope.detach()

    @torch.no_grad()
    def commit(self) -> None:
        """The step is done: what its parts saw is remembered."""
        if self._seen:
            decay = self._decay()
            self.mean.mul_(decay).add_(torch.stack(self._seen).mean(0) * (1 - decay))
            self.steps += 1
            self.forget()

    def forget(self) -> None:
        """The step is left out."""
        self._seen.clear()

    def _decay(self) -> Tensor:
        """Early on the mean is that of all steps, or its start at zero would stay in it."""
        return torch.minimum(torch.as_tensor(self.decay).to(self.steps), self.steps / (1 + self.steps))
