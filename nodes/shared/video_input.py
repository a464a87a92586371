"""A VIDEO, or IMAGE frames, as a file that can be streamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import InputImpl

from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.writer import VideoWriter
from .progress import check_cancel
from .sound import native_audio
from .tensors import to_uint8

LOSSLESS: dict[str, Any] = {"crf": 0, "preset": "ultrafast"}  # to be looked at, then thrown away
TO_KEEP: dict[str, Any] = {"crf": 23, "preset": "medium"}  # as Save Video encodes images


@contextmanager
def video_file(video: Any, quality: dict[str, Any] = LOSSLESS) -> Iterator[Path]:
    """The path of a VIDEO: of its own file where it has one, else of a copy that lives as long as the block.

    quality: of the copy, where the VIDEO is made of images.
    """
    source = _whole_file(video)
    if isinstance(source, (str, os.PathLike)):
        yield Path(source)
        return
    with temporary_file(".mp4") as path:
        if source is not None:
            path.write_bytes(source.getbuffer())
        elif isinstance(video, InputImpl.VideoFromComponents):
            parts = video.get_components()
            write_video(path, parts.images, parts.frame_rate, parts.audio, quality)
        else:  # trimmed, cropped, joined: it knows how to write itself, and without holding all of it
            video.save_to(str(path))
        yield path


def is_file(video: Any) -> bool:
    """Is the VIDEO a file as it is, so that its packets can be copied?"""
    return _whole_file(video) is not None


def video_name(video: Any) -> str:
    """What to call a VIDEO in a report: its file's name, if it has one."""
    source = _whole_file(video)
    return os.path.basename(source) if isinstance(source, (str, os.PathLike)) else "video"


@contextmanager
def images_file(images: torch.Tensor, fps: float) -> Iterator[Path]:
    """IMAGE frames as a video file that lives as long as the block."""
    with temporary_file(".mp4") as path:
        write_video(path, images, fps, None, LOSSLESS)
        yield path


def write_video(path: Path, images: torch.Tensor, fps: Fraction | float, audio: Any, quality: dict[str, Any]) -> None:
    """images: IMAGE [n, H, W, 3]; audio: AUDIO or None. H.264 in 4:2:0, of the quality that VideoWriter takes."""
    if images is None or len(images) == 0:
        raise SyncLipError("the video holds no frame; connect one with at least one.")
    sound = None if audio is None else native_audio(audio)
    height, width = images.shape[1:3]
    with VideoWriter(path, width, height, fps, audio=sound, **quality) as writer:
        for image in images:
            check_cancel()
            writer.write(to_uint8(image))


def output_file(suffix: str) -> Path:
    """A new name in ComfyUI's temp folder, for a video that travels on to other nodes. ComfyUI empties the folder."""
    handle, name = tempfile.mkstemp(suffix=suffix, prefix="synclip_", dir=_temp_folder())
    os.close(handle)
    return Path(name)


@contextmanager
def temporary_file(suffix: str) -> Iterator[Path]:
    path = output_file(suffix)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _temp_folder() -> str:
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    return folder


def _whole_file(video: Any) -> Any:
    """The path or buffer behind a VIDEO that shows all of it; None where it shows a part or is no file.

    Asked through the public methods alone, of which each core has some.
    """
    if not isinstance(video, InputImpl.VideoFromFile):
        return None
    source = video.get_stream_source()
    if hasattr(video, "get_active_trim_window"):
        trimmed = any(video.get_active_trim_window())
    else:
        trimmed = (
            hasattr(video, "as_trimmed") and video.get_duration() != InputImpl.VideoFromFile(source).get_duration()
        )
    if hasattr(video, "has_pending_frame_edits"):
        changed = video.has_pending_frame_edits()
    else:
        changed = hasattr(video, "as_cropped") and (
            video.get_dimensions() != InputImpl.VideoFromFile(source).get_dimensions()
        )
    return None if trimmed or changed else source
