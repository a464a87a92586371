"""Classify Attributes: what the face does, from its motion tokens."""

import json
from typing import Any

from comfy_api.latest import io

from ...synclip_core.attributes.head_file import BUNDLED_HEAD, load_head
from ...synclip_core.attributes.report import FRAMES, classify
from ..shared import sockets
from ..shared.model_files import BUNDLED_NAME, HEADS, fingerprint, names, path
from ..shared.tensors import picture_to_image, shown
from ..shared.values import Tokens, together
from .attributes_panel import draw_attributes

SAMPLED = {"all" if count == 0 else str(count): count for count in FRAMES}


class ClassifyAttributes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipClassifyAttributes",
            display_name="Classify Attributes",
            category=sockets.CATEGORY,
            description="What does the face do: does it speak, open the mouth, turn? Or what another head was "
            "trained on.",
            inputs=[
                sockets.Tokens.Input("vocal_tokens", tooltip="From Encode Vocal-Motion Tokens."),
                sockets.Tokens.Input("ambient_tokens", tooltip="From the same Encode Vocal-Motion Tokens."),
                io.Combo.Input(
                    "head",
                    options=names(HEADS),
                    default=BUNDLED_NAME,
                    tooltip="bundled: speaking, mouth open, head turned; for the bundled checkpoint. Others: "
                    ".safetensors files in models/synclip/heads, of the checkpoint that they were trained on.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    tooltip="The probability from which a label holds. 0: the head's own. Of labels that exclude each "
                    "other the likeliest holds.",
                ),
                io.Combo.Input(
                    "frames",
                    options=list(SAMPLED),
                    default="all",
                    tooltip="How many frames, spread evenly, make the probability of the whole clip: all, 16 or 80. "
                    "The plot shows every frame.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="words", tooltip="What the face does, in words."),
                io.String.Output(display_name="json", tooltip="Everything, as `synclip classify --json` writes it."),
                io.Image.Output(display_name="plot", tooltip="The probability of each label over time."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, head: str | None = BUNDLED_NAME, frames: str | None = "all") -> bool | str:
        return sockets.one_of(head=(head, names(HEADS)), frames=(frames, SAMPLED))

    @classmethod
    def fingerprint_inputs(cls, head: str, **_: Any) -> Any:
        return fingerprint(head, BUNDLED_HEAD)

    @classmethod
    def execute(
        cls, vocal_tokens: Tokens, ambient_tokens: Tokens, head: str, threshold: float, frames: str
    ) -> io.NodeOutput:
        both = together({"vocal": vocal_tokens, "ambient": ambient_tokens})
        vocal, ambient = both["vocal"], both["ambient"]
        report = classify(
            vocal.values,
            ambient.values,
            vocal.mask & ambient.mask,
            load_head(path(head)),
            model=vocal.model,
            frames=SAMPLED[frames],
            threshold=threshold or None,
            faces=vocal.faces,
        )
        data = report.to_json()
        picture = picture_to_image(draw_attributes(report))
        return io.NodeOutput(
            report.words,
            json.dumps(data),
            picture,
            ui=shown(cls, picture, text=(report.words,), synclip_attributes=(data,)),
        )
