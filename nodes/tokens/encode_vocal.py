"""Encode Vocal-Motion Tokens (and identity and ambient ones)."""

from comfy_api.latest import io

from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.values import Faces
from .visual import encode


class EncodeVocalMotionTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipEncodeVocalMotionTokens",
            display_name="Encode Vocal-Motion Tokens",
            category=sockets.CATEGORY,
            description="Turns a tracked face into tokens, a row a frame at 25 fps: speech, identity, the rest.",
            inputs=[
                sockets.Faces.Input("faces", tooltip="From Track Faces."),
                sockets.model_input(),
            ],
            outputs=[
                sockets.Tokens.Output(display_name="vocal_tokens", tooltip="Motion of speech: lips, jaw, cheeks."),
                sockets.Tokens.Output(display_name="identity_tokens", tooltip="Who the face is."),
                sockets.Tokens.Output(
                    display_name="ambient_tokens",
                    tooltip="Meant for motion that speech does not make. The bundled checkpoint's hold the head's "
                    "turn, the person and the mouth; it sees no eyes.",
                ),
            ],
        )

    @classmethod
    def execute(cls, faces: Faces, model: ManagedModel | None = None) -> io.NodeOutput:
        model = model or bundled()
        return io.NodeOutput(*encode(model.pipeline(), faces, model.checkpoint.sha256))
