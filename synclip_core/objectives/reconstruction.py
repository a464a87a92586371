"""Pixel-space reconstruction (SyncLipMAE, section 3.3; the masked mean of models_mae.py)."""

import torch
from torch import Tensor


def reconstruction_loss(predicted: Tensor, target: Tensor, keep: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error over the patches that bypass 1 did not see.

    predicted, target: [N, P, patch^2 * 3]; keep: [N, V] indices of the visible patches; weight: [N, P], None: all
    patches alike. MAE's ablation found that the loss on visible patches costs accuracy (He et al. 2022, section 3), and
    the text of the paper does not say otherwise.
    """
    error = ((predicted - target) ** 2).mean(-1)
    hidden = torch.ones_like(error) if weight is None else weight.to(error)
    hidden = hidden.scatter(1, keep, 0.0)
    return (error * hidden).sum() / hidden.sum().clamp_min(1)
