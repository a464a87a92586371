"""Dub Conditioning."""

from typing import Any

import torch
import torch.nn.functional as F
from comfy_api.latest import io

from ...synclip_core.dubbing.face import MARGIN
from ...synclip_core.dubbing.vace import edit_mask
from ...synclip_core.errors import SyncLipError
from ..shared import sockets
from .vace_conditioning import SIDE, describe


class DubConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipDubConditioning",
            display_name="Dub Conditioning",
            category=sockets.CATEGORY,
            description="Tells a Wan VACE model what to dub: face crops with a grey hole over mouth and jaw, and one "
            "or two pictures to hold on to. For one segment; Dub Sampler does whole videos.",
            inputs=[
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt."),
                io.Vae.Input("vae", tooltip="The VAE of Wan 2.1."),
                io.Image.Input(
                    "crops",
                    tooltip="Face crops of the segment, 25 a second: from Track Faces, with its margin. A length that "
                    "is not 4 n + 1 is filled up with the last crop.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=1024,
                    step=SIDE,
                    tooltip="Side in pixels that crops, mask and references are brought to.",
                ),
                io.Float.Input(
                    "margin",
                    default=round(MARGIN, 4),
                    min=0.0,
                    max=1.0,
                    step=0.0001,
                    tooltip="The margin that Track Faces cut the crops with; it says where in them the mouth lies.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=10.0, step=0.01, tooltip="How strongly VACE acts."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where the crops are made anew, one for all or one each. Nothing connected: the "
                    "lower half of the face, down below the chin.",
                ),
                io.Image.Input("identity", optional=True, tooltip="A picture of the person, as a face crop."),
                io.Image.Input(
                    "continuity",
                    optional=True,
                    tooltip="The last frame of the segment before, as it was made, so that this one goes on from it.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The prompt, with the segment."),
                io.Conditioning.Output(display_name="negative", tooltip="The negative prompt, with the segment."),
                io.Latent.Output(display_name="latent", tooltip="Empty, of the right size, for the sampler."),
                io.Int.Output(
                    display_name="trim_latent",
                    tooltip="Reference latents in front: for `references` of Apply AudioPack and for TrimVideoLatent.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Any,
        negative: Any,
        vae: Any,
        crops: torch.Tensor,
        size: int,
        margin: float,
        strength: float,
        mask: torch.Tensor | None = None,
        identity: torch.Tensor | None = None,
        continuity: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        if mask is not None and len(mask) not in (1, len(crops)):
            raise SyncLipError(f"mask: {len(mask)} frames; expected 1 or {len(crops)}, as many as crops.")
        hole = edit_mask(size, margin)[None] if mask is None else resized(mask[..., None], size)[..., 0]
        references = [resized(picture[-1:], size)[0] for picture in (identity, continuity) if picture is not None]
        hole = (hole > 0.5).float().expand(len(crops), -1, -1)
        vace = describe(vae, resized(crops, size), hole, references)
        return io.NodeOutput(
            vace.conditioned(positive, strength),
            vace.conditioned(negative, strength),
            {"samples": vace.empty_latent()},
            vace.references,
        )


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """[n, H, W, C] -> [n, size, size, C or 3]."""
    images = images[..., :3].float()
    if images.shape[1:3] == (size, size):
        return images
    planes = F.interpolate(images.movedim(-1, 1), (size, size), mode="bilinear", antialias=True)
    return planes.movedim(1, -1).clamp(0, 1)
