"""Which patches a bypass sees (SyncLipMAE, section 3.2, "Two-bypass face-aware masking")."""

import torch
from torch import Tensor

from ..faces.geometry import TEMPLATE_REGIONS

# How much likelier than a patch of plain skin a patch of each part is kept, in the order of media.geometry.REGIONS, and
# one that shows nothing of the face. Mouth and eyes move; a cheek tells of both; the background tells who it is.
REGION_WEIGHTS = (1.0, 4.0, 4.0, 6.0, 2.0)
BACKGROUND = 0.02
WHOLE_FACE = 0.37  # share of the patches that may be hidden before more than the rim of a usual face is (VisualConfig)
FINE = 4  # points a patch and side at which the face's ellipse is looked up

# The fixed map of checkpoints with `view: mouth` (VisualConfig): x0, y0, x1, y1, weight; a later entry overwrites.
MOUTH_MAP = (
    (0.0, 0.0, 1.0, 1.0, 0.02),
    (0.14, 0.10, 0.86, 1.0, 0.2),
    (0.20, 0.24, 0.80, 0.42, 1.0),
    (0.20, 0.54, 0.80, 1.0, 8.0),
    (0.28, 0.56, 0.72, 0.86, 40.0),
)


def template_regions() -> Tensor:
    """[1, 5, 4]: where the parts of a face usually are."""
    return torch.from_numpy(TEMPLATE_REGIONS)[None]


def face_importance(regions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Odds of each patch to be kept. regions: [N, 5, 4], boxes of media.geometry.REGIONS in the unit square of the
    frame; grid: rows and columns of patches. Returns [N, rows * columns].

    A patch counts for a part by the share of it that the part covers; the face itself is the ellipse in its box.
    """
    rows, columns = grid
    ys = (torch.arange(rows * FINE, device=regions.device) + 0.5) / (rows * FINE)
    xs = (torch.arange(columns * FINE, device=regions.device) + 0.5) / (columns * FINE)
    # 1. rectangles: what they cover of each row times what they cover of each column
    low, high = regions[:, 1:, :2, None], regions[:, 1:, 2:, None]
    across = _covered(low[:, :, 0], high[:, :, 0], columns)
    down = _covered(low[:, :, 1], high[:, :, 1], rows)
    parts = down[..., :, None] * across[..., None, :]
    # 2. the ellipse
    centre, radius = (regions[:, 0, :2] + regions[:, 0, 2:]) / 2, (regions[:, 0, 2:] - regions[:, 0, :2]) / 2
    radius = radius.clamp_min(1e-3)
    x = ((xs[None] - centre[:, :1]) / radius[:, :1]) ** 2
    y = ((ys[None] - centre[:, 1:]) / radius[:, 1:]) ** 2
    inside = (y[:, :, None] + x[:, None, :] <= 1).to(regions)
    face = inside.unflatten(2, (columns, FINE)).unflatten(1, (rows, FINE)).mean((2, 4))
    # 3. the part that weighs most
    weight = regions.new_tensor(REGION_WEIGHTS)
    best = torch.maximum((parts * weight[1:, None, None]).amax(1), face * weight[0])
    # 4. among patches alike the one nearer to the face: whichever device chooses, a frame gives the same token
    away = y.unflatten(1, (rows, FINE)).mean(2)[:, :, None] + x.unflatten(1, (columns, FINE)).mean(2)[:, None]
    return (best.clamp_min(BACKGROUND) * (1 - 0.001 * away / (1 + away))).flatten(1)


def _covered(low: Tensor, high: Tensor, count: int) -> Tensor:
    """[N, K, 1] each -> [N, K, count]: the share of each of `count` cells of the unit interval between low and high."""
    edges = torch.arange(count + 1, device=low.device) / count
    return (torch.minimum(high, edges[1:]) - torch.maximum(low, edges[:-1])).clamp_min(0) * count


def mouth_importance(height: int, width: int) -> Tensor:
    """[height * width] of MOUTH_MAP: the mean over each patch."""
    fine = 16
    ys = (torch.arange(height * fine) + 0.5) / (height * fine)
    xs = (torch.arange(width * fine) + 0.5) / (width * fine)
    weight = torch.zeros(height * fine, width * fine)
    for x0, y0, x1, y1, value in MOUTH_MAP:
        weight[((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))[None]] = value
    return weight.view(height, fine, width, fine).mean((1, 3)).flatten()


def visible_count(patches: int, mask_ratio: float) -> int:
    """How many patches stay when `mask_ratio` of them is hidden; at least one."""
    return max(1, round(patches * (1 - mask_ratio)))


def uniform_keep(noise: Tensor, mask_ratio: float) -> Tensor:
    """Bypass 1: as `face_preserving_keep`, all patches alike."""
    return face_preserving_keep(noise, torch.ones_like(noise[:1]), mask_ratio)


def face_preserving_keep(noise: Tensor, importance: Tensor, mask_ratio: float) -> Tensor:
    """Bypass 2: [count, V] sorted indices drawn without replacement with odds `importance` (Gumbel top-k).

    noise: [count, P], evenly distributed over 0..1; importance: [count, P] or [1, P].
    """
    keys = importance.clamp_min(1e-9).log() - (-noise.clamp_min(1e-9).log()).log()
    return keys.topk(visible_count(noise.shape[1], mask_ratio), dim=1).indices.sort(1).values


def inference_keep(importance: Tensor, mask_ratio: float) -> Tensor:
    """[N, V] the most important patches of importance [N, P]: what bypass 2 keeps most often, so that a frame always
    gives the same token."""
    return importance.topk(visible_count(importance.shape[1], mask_ratio), dim=1).indices.sort(1).values
