"""Track Faces."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io, ui

from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.selection import Choice, parse_choice
from ..shared import sockets
from ..shared.progress import show_result
from ..shared.tensors import picture_to_image, require_room, to_image
from ..shared.video_input import images_file, video_file
from .boxes import point_of_boxes, point_of_mask
from .tracking import track_file


class TrackFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipTrackFaces",
            display_name="Track Faces",
            category=sockets.CATEGORY,
            description="Follows one face through a video and cuts it out, upright and still, 25 times a second.",
            inputs=[
                io.Video.Input("video", optional=True, tooltip="The video to look at. Streamed, however long it is."),
                io.Image.Input("images", optional=True, tooltip="Frames, instead of a video."),
                io.Float.Input(
                    "fps", default=25.0, min=1.0, max=240.0, step=0.01, tooltip="Frame rate of `images`. A video knows."
                ),
                io.String.Input("face", default="auto", tooltip=sockets.FACE_TOOLTIP),
                io.Combo.Input("missing", options=sockets.MISSING, default="hold", tooltip=sockets.MISSING_TOOLTIP),
                io.Int.Input(
                    "crop_size",
                    default=112,
                    min=64,
                    max=1024,
                    step=8,
                    tooltip="Side of the crops in pixels. 112 is what the bundled model reads; larger ones are for "
                    "editing and are reduced for the encoder.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much more than the face the crops show on every side, as a share of its side. 0 is "
                    "what the model reads.",
                ),
                sockets.Boxes.Input(
                    "bbox",
                    optional=True,
                    tooltip="Boxes x0,y0,x1,y1 of another pack's detector: the face nearest to the first one is "
                    "followed, and `face` is not looked at.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask over the wanted face, instead of `face`; the first frame that is not black counts.",
                ),
            ],
            outputs=[
                sockets.Faces.Output(display_name="faces", tooltip="For the encoders, Mouth Mask and Paste Faces."),
                io.Image.Output(display_name="crops", tooltip="The face, one crop a frame at 25 fps."),
                io.Mask.Output(
                    display_name="valid", tooltip="White for crops that show the face, black where `missing` filled in."
                ),
                io.Image.Output(display_name="preview", tooltip="Frames of the video with the faces found."),
            ],
            is_output_node=True,  # its preview is worth a run of its own
        )

    @classmethod
    def validate_inputs(cls, face: str | None = "auto", missing: str | None = "hold") -> bool | str:
        if wrong := sockets.wrong_face(face):
            return wrong
        if face is not None and parse_choice(face) == "speaker":
            return "face='speaker' needs the sound: connect Find Speaker here, or choose it in Sync Score"
        return sockets.one_of(missing=(missing, sockets.MISSING))

    @classmethod
    def execute(
        cls,
        fps: float,
        face: str,
        missing: str,
        crop_size: int,
        margin: float,
        video: Any = None,
        images: torch.Tensor | None = None,
        bbox: Any = None,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        choice: Choice = parse_choice(face)
        if bbox is not None:
            choice = point_of_boxes(bbox)
        elif mask is not None:
            choice = point_of_mask(mask)
        with _source(video, images, fps) as path:
            faces, preview = track_file(
                path, choice, missing, crop_size, margin, str(comfy.model_management.get_torch_device())
            )
        show_result(preview)
        shown = picture_to_image(preview)
        crops = faces.crops()
        require_room(crops.shape, "the IMAGE of crops")
        valid = torch.from_numpy(faces.joined("valid")).float()[:, None, None].expand(-1, crop_size, crop_size)
        return io.NodeOutput(faces, to_image(crops), valid, shown, ui=ui.PreviewImage(shown, cls=cls))


def _source(video: Any, images: torch.Tensor | None, fps: float) -> AbstractContextManager[Path]:
    if (video is None) == (images is None):
        raise SyncLipError("Track Faces: connect a video or images, one of the two.")
    return video_file(video) if images is None else images_file(images, fps)
