"""Mouth Mask."""

import torch
from comfy_api.latest import io, ui

from ..shared import sockets
from ..shared.values import Faces
from .masking import REGIONS, crop_masks, frame_masks

OVER = ["frames", "crops"]


class MouthMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def share(name: str, default: float, tooltip: str) -> io.Input:
            return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)

        return io.Schema(
            node_id="SyncLipMouthMask",
            display_name="Mouth Mask",
            category=sockets.CATEGORY,
            description="A soft mask over what speech moves, frame by frame, for inpainting or paste-back.",
            inputs=[
                sockets.Faces.Input("faces", tooltip="From Track Faces."),
                io.Combo.Input(
                    "region",
                    options=list(REGIONS),
                    default="lower face",
                    tooltip="lower face: jaw, cheeks and mouth; mouth: the lips and what is between them.",
                ),
                io.Combo.Input(
                    "over",
                    options=OVER,
                    default="frames",
                    tooltip="frames: a mask for each frame of the video, of its size; crops: one for each crop.",
                ),
                share("grow", 0.03, "How far the mask reaches beyond the outline, as a share of the face."),
                share("chin", 0.1, "How far it reaches down below the chin, where an opening jaw goes."),
                share("feather", 0.06, "Width of its soft edge, as a share of the face."),
            ],
            outputs=[io.Mask.Output(display_name="mask", tooltip="White where speech moves the face; black: no face.")],
        )

    @classmethod
    def validate_inputs(cls, region: str = "mouth", over: str = "frames") -> bool | str:
        return sockets.one_of(region=(region, REGIONS), over=(over, OVER))

    @classmethod
    def execute(cls, faces: Faces, region: str, over: str, grow: float, chin: float, feather: float) -> io.NodeOutput:
        make = frame_masks if over == "frames" else crop_masks
        mask = torch.from_numpy(make(faces, region, grow, chin, feather))
        return io.NodeOutput(mask, ui=ui.PreviewMask(mask[len(mask) // 2 : len(mask) // 2 + 1], cls=cls))
