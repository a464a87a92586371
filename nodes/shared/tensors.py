"""Between ComfyUI's tensors and the library's arrays, and whether a tensor fits into memory at all."""

import math
from typing import Any

import comfy.model_management
import numpy as np
import torch
from comfy_api.latest import io, ui
from PIL import Image

from ...synclip_core.errors import SyncLipError


def to_image(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [n, H, W, 3] -> IMAGE, float [n, H, W, 3] in 0..1."""
    require_room(pictures.shape, "the IMAGE")
    return torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(255)


def picture_to_image(picture: Image.Image) -> torch.Tensor:
    """One PIL picture -> IMAGE with one frame."""
    return to_image(np.array(picture.convert("RGB"))[None])  # a copy: PIL's own is read-only


def shown(node: type[io.ComfyNode], picture: torch.Tensor, **more: Any) -> dict[str, Any]:
    """For NodeOutput's ui: an IMAGE on the node, and more for those who read the outputs."""
    return {**ui.PreviewImage(picture, cls=node).as_dict(), **more}


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """One frame of an IMAGE, [H, W, 3 or more] in 0..1 -> uint8 [H, W, 3]."""
    return image[..., :3].detach().cpu().float().mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def require_room(shape: Any, what: str) -> None:
    """Raises SyncLipError where float32 of this shape would not fit into free memory."""
    needed = 4 * math.prod(int(side) for side in shape)
    free = comfy.model_management.get_free_memory(torch.device("cpu"))
    if needed > 0.9 * free:
        raise SyncLipError(
            f"{what} of {shape[0]} frames of {shape[2]} x {shape[1]} needs {needed / 2**30:.1f} GB of memory and "
            f"{free / 2**30:.1f} GB are free; work on a shorter or smaller clip, or on crops instead of whole frames."
        )
