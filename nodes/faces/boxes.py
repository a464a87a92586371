"""What other packs know of a face: boxes and masks, read as the point to look at."""

from typing import Any

import numpy as np
import torch

from ...synclip_core.errors import SyncLipError


def point_of_boxes(boxes: Any) -> tuple[float, float]:
    """Centre of the first box. boxes: x0, y0, x1, y1 in pixels, alone or nested in lists, tuples, arrays or dicts."""
    first = boxes
    while True:
        if isinstance(first, torch.Tensor):
            first = first.detach().cpu().numpy()
        if isinstance(first, dict):
            first = next((first[key] for key in ("bbox", "boxes", "bboxes") if key in first), None)
        elif isinstance(first, np.ndarray):
            first = first.tolist()
        elif isinstance(first, (list, tuple)) and len(first) and not _is_number(first[0]):
            first = next((item for item in first if item is not None and len(item)), None)
        else:
            break
    if not isinstance(first, (list, tuple)) or len(first) < 4 or not all(_is_number(v) for v in first[:4]):
        raise SyncLipError(f"bbox: expected boxes of x0, y0, x1, y1 in pixels, got {str(boxes)[:80]}.")
    left, top, right, bottom = (float(v) for v in first[:4])
    return (left + right) / 2, (top + bottom) / 2


def point_of_mask(mask: torch.Tensor) -> tuple[float, float]:
    """Centre of the first frame that is not black. mask: [B, H, W] or [H, W], in the picture's pixels."""
    frames = mask.detach().cpu().float().reshape(-1, *mask.shape[-2:]).numpy()
    for frame in frames:
        rows, columns = np.nonzero(frame > 0.5)
        if len(rows):
            return float(columns.mean() + 0.5), float(rows.mean() + 0.5)
    raise SyncLipError("mask: is black everywhere; paint over the face to follow, or leave it unconnected.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
