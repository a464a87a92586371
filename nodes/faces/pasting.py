"""Edited crops back into frames, given as a tensor or streamed from a file to a file."""

from pathlib import Path

import numpy as np
import torch

from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.paste import paste_face
from ...synclip_core.media.info import probe
from ...synclip_core.media.video import iter_frames
from ...synclip_core.media.writer import VideoWriter
from ..shared.progress import counted
from ..shared.tensors import require_room, to_uint8
from ..shared.values import Faces


def check_fit(faces: Faces, crops: torch.Tensor, mask: torch.Tensor | None, images: tuple[int, ...] | None) -> None:
    """Raises SyncLipError where the parts cannot come from one Track Faces."""
    count = len(faces.crops())
    if len(crops) != count:
        raise SyncLipError(
            f"crops: {len(crops)} frames, but Track Faces cut {count}; edit all of them and keep their order."
        )
    if mask is not None and len(mask) not in (1, count):
        raise SyncLipError(f"mask: {len(mask)} frames; expected 1 or {count} (Mouth Mask with over='crops').")
    if images is not None and images[:3] != (len(faces.frame_ticks), faces.height, faces.width):
        raise SyncLipError(
            f"images: {images[0]} frames of {images[2]} x {images[1]}, but Track Faces saw {len(faces.frame_ticks)} "
            f"of {faces.width} x {faces.height}; connect the same frames to both."
        )


class _Paster:
    def __init__(
        self, faces: Faces, crops: torch.Tensor, mask: torch.Tensor | None, feather: float, guessed: bool
    ) -> None:
        self.faces, self.edited, self.mask, self.feather = faces, crops, mask, feather
        self.cut, self.transforms = faces.crops(), faces.joined("transforms")
        self.rows = faces.rows()
        if not guessed:
            seen = faces.joined("valid")
            self.rows = np.where((self.rows >= 0) & seen[np.maximum(self.rows, 0)], self.rows, -1)

    def __call__(self, frame: int, image: np.ndarray) -> np.ndarray:
        """image: uint8 [H, W, 3]. Frames without a face come back as they are."""
        ticks = self.faces.frame_ticks
        row = int(self.rows[ticks[min(frame, len(ticks) - 1)]])
        if row < 0:
            return image
        edited = to_uint8(self.edited[row])
        # where sizes agree only the change is pasted, and the frame keeps its own detail
        original = self.cut[row] if edited.shape == self.cut[row].shape else None
        mask = None
        if self.mask is not None:
            mask = self.mask[row if len(self.mask) > 1 else 0].detach().cpu().float().numpy()
        return paste_face(image, edited, self.transforms[row], self.faces.margin, self.feather, mask, original)


def paste_images(
    images: torch.Tensor, faces: Faces, crops: torch.Tensor, mask: torch.Tensor | None, feather: float, guessed: bool
) -> torch.Tensor:
    """IMAGE [frames, H, W, 3]."""
    require_room(images.shape, "the IMAGE")
    paster = _Paster(faces, crops, mask, feather, guessed)
    result = images[..., :3].clone()
    for frame, image in enumerate(counted(images, len(images))):
        before = to_uint8(image)
        after = paster(frame, before)
        changed = torch.from_numpy((after != before).any(-1))
        result[frame][changed] = torch.from_numpy(after).to(result.dtype)[changed] / 255
    return result


def paste_video(
    source: Path,
    target: Path,
    faces: Faces,
    crops: torch.Tensor,
    mask: torch.Tensor | None,
    feather: float,
    guessed: bool,
    crf: int,
) -> None:
    """From file to file, frame by frame; the sound comes along."""
    info = probe(source)
    if (info.height, info.width) != (faces.height, faces.width):
        raise SyncLipError(
            f"video: {info.width} x {info.height}, but Track Faces saw {faces.width} x {faces.height}; connect the "
            "same video to both."
        )
    paster = _Paster(faces, crops, mask, feather, guessed)
    frames = iter_frames(source)
    try:
        with VideoWriter(
            target,
            info.width,
            info.height,
            info.frame_rate,
            audio_from=source,
            crf=crf,
            variable=info.variable,
        ) as writer:
            for frame in counted(frames, len(faces.frame_ticks)):
                writer.write(paster(frame.index, frame.image), frame.time_s if info.variable else None)
    finally:
        frames.close()
