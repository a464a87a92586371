"""Cross-covariance decorrelation of the three factors (papers/synclipmae.txt, section 3.3)."""

from itertools import combinations

import torch
from torch import Tensor


def decorrelation_loss(*factors: Tensor) -> Tensor:
    """Sum over pairs of factors of the mean squared entry of their cross-covariance.

    factors: [N, D] tokens of the same N frames; covariance after centering along the batch and time axis.
    """
    count = factors[0].shape[0]
    centered = [factor - factor.mean(0, keepdim=True) for factor in factors]
    pairs = [(a.T @ b / max(1, count - 1)).square().mean() for a, b in combinations(centered, 2)]
    return torch.stack(pairs).sum()
