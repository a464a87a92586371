"""Which patches a bypass sees (papers/synclipmae.txt, section 3.2, "Two-bypass face-aware masking")."""

import torch
from torch import Tensor

# Importance of each place of the canonical face square (media/geometry.py) for facial motion: mouth and jaw first, then
# the eyes, then the rest of the face; x0, y0, x1, y1, weight. A later entry overwrites an earlier one.
FACE_REGIONS = (
    (0.0, 0.0, 1.0, 1.0, 0.02),
    (0.14, 0.10, 0.86, 1.0, 0.2),
    (0.20, 0.24, 0.80, 0.42, 1.0),
    (0.20, 0.54, 0.80, 1.0, 8.0),
    (0.28, 0.56, 0.72, 0.86, 40.0),
)


def face_importance(height: int, width: int) -> Tensor:
    """[height * width] weights of the patches: the mean of FACE_REGIONS over each patch."""
    fine = 16
    ys = (torch.arange(height * fine) + 0.5) / (height * fine)
    xs = (torch.arange(width * fine) + 0.5) / (width * fine)
    weight = torch.zeros(height * fine, width * fine)
    for x0, y0, x1, y1, value in FACE_REGIONS:
        weight[((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))[None]] = value
    return weight.view(height, fine, width, fine).mean((1, 3)).flatten()


def visible_count(patches: int, mask_ratio: float) -> int:
    """How many patches stay when `mask_ratio` of them is hidden; at least one."""
    return max(1, round(patches * (1 - mask_ratio)))


def uniform_keep(noise: Tensor, mask_ratio: float) -> Tensor:
    """Bypass 1: as `face_preserving_keep`, all patches alike."""
    return face_preserving_keep(noise, torch.ones(noise.shape[1]), mask_ratio)


def face_preserving_keep(noise: Tensor, importance: Tensor, mask_ratio: float) -> Tensor:
    """Bypass 2: [count, V] sorted indices drawn without replacement with odds `importance` (Gumbel top-k).

    noise: [count, P], evenly distributed over 0..1.
    """
    keys = importance.clamp_min(1e-9).log() - (-noise.clamp_min(1e-9).log()).log()
    return keys.topk(visible_count(len(importance), mask_ratio), dim=1).indices.sort(1).values


def inference_keep(importance: Tensor, mask_ratio: float) -> Tensor:
    """[V] the most important patches: what bypass 2 keeps most often, so that a frame always gives the same token."""
    return importance.topk(visible_count(len(importance), mask_ratio)).indices.sort().values
