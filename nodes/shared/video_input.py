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

from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.writer import VideoWriter
from .progress import check_cancel
from .sound import native_audio
from .tensors import to_uint8


@contextmanager
def video_file(video: Any) -> Iterator[Path]:
    """The path of a VIDEO: of its own file where it has one, else of a copy that lives as long as the block."""
    source = video.get_stream_source() if _is_whole_file(video) else None
    if isinstance(source, (str, os.PathLike)):
        yield Path(source)
        return
    with temporary_file(".mp4") as path:
        if source is not None:
            path.write_bytes(source.getbuffer())
        else:
            parts = video.get_components()
            write_video(path, parts.images, parts.frame_rate, parts.audio)
        yield path


def video_name(video: Any) -> str:
    """What to call a VIDEO in a report: its file's name, if it has one."""
    source = video.get_stream_source() if _is_whole_file(video) else None
    return os.path.basename(source) if isinstance(source, (str, os.PathLike)) else "video"


@contextmanager
def images_file(images: torch.Tensor, fps: float) -> Iterator[Path]:
    """IMAGE frames as a video file that lives as long as the block."""
    with temporary_file(".mp4") as path:
        write_video(path, images, fps, None)
        yield path


def write_video(path: Path, images: torch.Tensor, fps: Fraction | float, audio: Any) -> None:
    """images: IMAGE [n, H, W, 3]; audio: AUDIO or None. H.264 without loss (but for 4:2:0 colour)."""
    if images is None or len(images) == 0:
        raise SyncLipError("the video holds no frame; connect one with at least one.")
    sound = None if audio is None else native_audio(audio)
    height, width = images.shape[1:3]
    with VideoWriter(path, width, height, fps, audio=sound, crf=0, preset="ultrafast") as writer:
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


def _is_whole_file(video: Any) -> bool:
    """Is the VIDEO a file as it is? Made of tensors it is none, and a trimmed one shows a part of its file only."""
    if type(video).__name__ != "VideoFromFile":
        return False
    return not any(getattr(video, f"_VideoFromFile__{name}", 0) for name in ("start_time", "duration"))
