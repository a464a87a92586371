"""Load Model."""

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..synclip_core.checkpoint import BUNDLED
from . import sockets
from .managed_model import DTYPES, ManagedModel

FOLDER = "synclip"
HEADS = "heads"  # a folder in it: attribute heads, which are no checkpoints
BUNDLED_NAME = "bundled"
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
                    options=_names(),
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
        return sockets.one_of(checkpoint=(checkpoint, _names()), dtype=(dtype, DTYPES), device=(device, DEVICES))

    @classmethod
    def execute(cls, checkpoint: str, dtype: str, device: str) -> io.NodeOutput:
        return io.NodeOutput(ManagedModel(_path(checkpoint), dtype, device))

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str, **_: Any) -> Any:
        stat = os.stat(_path(checkpoint) or BUNDLED)
        return stat.st_mtime_ns, stat.st_size


def _names() -> list[str]:
    files = folder_paths.get_filename_list(FOLDER)
    return [BUNDLED_NAME, *(n for n in files if n.endswith(".safetensors") and Path(n).parts[0] != HEADS)]


def _path(checkpoint: str) -> Path | None:
    """validate_inputs lets listed names pass only, so the file lies in a models folder."""
    return None if checkpoint == BUNDLED_NAME else Path(folder_paths.get_full_path_or_raise(FOLDER, checkpoint))
