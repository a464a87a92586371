"""Paste Faces."""

from typing import Any

import torch
from comfy_api.latest import InputImpl, io

from ...synclip_core.errors import SyncLipError
from ..shared import sockets
from ..shared.values import Faces
from ..shared.video_input import output_file, video_file
from .pasting import check_fit, paste_images, paste_video


class PasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipPasteFaces",
            display_name="Paste Faces",
            category=sockets.CATEGORY,
            description="Puts edited face crops back into their video, at its own resolution and with a soft edge.",
            inputs=[
                sockets.Faces.Input("faces", tooltip="From the Track Faces that cut the crops."),
                io.Image.Input("crops", tooltip="The edited crops, as many as Track Faces gave and in their order."),
                io.Video.Input(
                    "video", optional=True, tooltip="The video that was tracked. Streamed; its sound is kept."
                ),
                io.Image.Input("images", optional=True, tooltip="The frames that were tracked, instead of a video."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where in the crops to paste: one mask for all, or one a crop (Mouth Mask over crops).",
                ),
                io.Float.Input(
                    "feather",
                    default=0.1,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft border of the square, as a share of its side.",
                ),
                io.Boolean.Input(
                    "guessed",
                    default=False,
                    tooltip="Paste also where the face was not seen and its place is a guess.",
                ),
                io.Int.Input(
                    "crf",
                    default=17,
                    min=0,
                    max=51,
                    tooltip="Quality of the written video (H.264); lower: better and larger. Not for images.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The result, where a video was connected."),
                io.Image.Output(display_name="images", tooltip="The result, where images were connected."),
            ],
        )

    @classmethod
    def execute(
        cls,
        faces: Faces,
        crops: torch.Tensor,
        feather: float,
        guessed: bool,
        crf: int,
        video: Any = None,
        images: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        if video is None and images is None:
            raise SyncLipError("Paste Faces: connect the video, or the images, that Track Faces looked at.")
        check_fit(faces, crops, mask, None if images is None else tuple(images.shape))
        options = (faces, crops, mask, feather, guessed)
        written = None
        if video is not None:
            target = output_file(".mp4")
            with video_file(video) as path:
                paste_video(path, target, *options, crf=crf)
            written = InputImpl.VideoFromFile(str(target))
        return io.NodeOutput(written, None if images is None else paste_images(images, *options))
