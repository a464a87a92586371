"""Load Model."""

from typing import Any

from comfy_api.latest import io

from ...synclip_core.checkpoint import BUNDLED
from ..shared import sockets
from ..shared.managed_model import DTYPES, ManagedModel
from ..shared.model_files import BUNDLED_NAME, fingerprint, names, path

DEVICES = ["default", "cpu"]


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipLoadModel",
            display_name="Load SyncLip Model",
            category=sockets.CATEGORY,
            description="Loads a SyncLipMAE checkpoint. Only needed for another one than the small bundled checkpoint.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=names(),
                    default=BUNDLED_NAME,
                    tooltip="bundled: the small checkpoint that comes with the pack and runs on a CPU. Others: "
                    ".safetensors files in models/synclip.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="float32",
                    tooltip="How the weights are kept in memory. float16 and bfloat16 halve it; scores change in the "
                    "third digit. The arithmetic is float32 either way.",
                ),
                io.Combo.Input(
                    "device",
                    options=DEVICES,
                    default="default",
                    tooltip="default: ComfyUI's device, with offloading; cpu: leave the graphics card to others.",
                ),
            ],
            outputs=[sockets.Model.Output(display_name="model", tooltip="For the encoders and Sync Score.")],
        )

    @classmethod
    def validate_inputs(
        cls, checkpoint: str = BUNDLED_NAME, dtype: str = "float32", device: str = "default"
    ) -> bool | str:
        return sockets.one_of(checkpoint=(checkpoint, names()), dtype=(dtype, DTYPES), device=(device, DEVICES))

    @classmethod
    def execute(cls, checkpoint: str, dtype: str, device: str) -> io.NodeOutput:
        return io.NodeOutput(ManagedModel(path(checkpoint), dtype, device))

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str, **_: Any) -> Any:
        return fingerprint(checkpoint, BUNDLED)
