"""One linear layer on frozen features: logistic regression by L-BFGS, which has one optimum and needs no tuning."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

UNKNOWN = -1
L2 = (1e-4, 1e-3, 1e-2, 1e-1)  # weights of the penalty that the validation split chooses among


@dataclass(frozen=True)
class Linear:
    """weight: float64 [L, D], bias: float64 [L]."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """[n, D] -> logits [n, L]."""
        return features @ self.weight.T + self.bias


def fit_linear(features: np.ndarray, truth: np.ndarray, kind: str, labels: int, l2: float, steps: int = 200) -> Linear:
    """features: float [n, D]. truth: single: int [n]; multi: int [n, L] of 0 and 1; UNKNOWN takes no part.

    Minimises mean cross-entropy + l2 / 2 |w|^2 over standardised features, so that one l2 means the same for every
    probe; the standardisation is folded into what is returned. Convex and started from zero: the same data give the
    same weights.
    """
    known = (truth != UNKNOWN) if kind == "single" else (truth != UNKNOWN).any(1)
    x, y = features[known].astype(np.float64), truth[known]
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-8)
    inputs, target = torch.from_numpy((x - mean) / scale), torch.from_numpy(np.asarray(y, np.int64))
    weight = torch.zeros(labels, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-7)
    counts = (target != UNKNOWN).double()

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = inputs @ weight.T + bias
        if kind == "single":
            value = F.cross_entropy(logits, target)
        else:  # the mean of each label over what is known of it
            each = F.binary_cross_entropy_with_logits(logits, target.clamp_min(0).double(), reduction="none")
            value = ((each * counts).sum(0) / counts.sum(0).clamp_min(1)).sum()
        value = value + l2 / 2 * (weight**2).sum()
        value.backward()
        return value

    optimiser.step(loss)
    folded = weight.detach().numpy() / scale
    return Linear(folded, bias.detach().numpy() - folded @ mean)
