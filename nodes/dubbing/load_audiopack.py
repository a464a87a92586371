"""Load AudioPack."""

import os
from typing import Any

import comfy.ops
from comfy_api.latest import io

from ...synclip_core.dubbing.audiopack_file import load_audiopack
from ...synclip_core.errors import SyncLipError
from ..shared import sockets
from .audiopack_files import NONE, names, path


class LoadAudioPack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipLoadAudioPack",
            display_name="Load AudioPack",
            category=sockets.CATEGORY,
            description="Loads an AudioPack: the small network that lets tokens drive a Wan VACE video model.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=names(),
                    tooltip="A .safetensors file in models/model_patches or models/synclip/audiopacks. It belongs to "
                    "one SyncLipMAE checkpoint and to one size of video model.",
                )
            ],
            outputs=[sockets.AudioPack.Output(display_name="audiopack", tooltip="For Apply AudioPack.")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = NONE) -> bool | str:
        if file is None:  # it comes by a link, later
            return True
        try:
            path(file)
        except SyncLipError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        stat = os.stat(path(file))
        return stat.st_mtime_ns, stat.st_size

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_audiopack(path(file), ops=comfy.ops.manual_cast))
