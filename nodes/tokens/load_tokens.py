"""Load Tokens."""

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ...synclip_core.errors import SyncLipError
from ...synclip_core.tokens.token_file import MASKS, STREAMS, read_tokens
from ..shared import sockets
from ..shared.values import Tokens

NONE = "(no token file in the input or output folder)"


class LoadTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipLoadTokens",
            display_name="Load Tokens",
            category=sockets.CATEGORY,
            description="Reads token streams that Save Tokens or `synclip tokens` wrote.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_names(),
                    tooltip="A .safetensors file of ComfyUI's input folder, or of its output folder (marked [output]).",
                )
            ],
            outputs=[
                sockets.Tokens.Output(
                    display_name=f"{kind}_tokens", tooltip=f"The {kind} tokens, if the file has them."
                )
                for kind in STREAMS
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = NONE) -> bool | str:
        if file is None:  # it comes by a link, later
            return True
        try:
            _path(file)
        except SyncLipError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        stat = os.stat(_path(file))
        return stat.st_mtime_ns, stat.st_size

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        held = read_tokens(_path(file))
        known = {"look": held.arrays["look"]} if "look" in held.arrays else {}
        return io.NodeOutput(
            *(
                Tokens(
                    kind,
                    held.arrays[kind],
                    held.arrays[MASKS[kind]],
                    held.model,
                    held.faces,
                    **(known if kind == "vocal" else {}),
                )
                if kind in held.arrays
                else ExecutionBlocker(f"{file}: holds no {kind} tokens")
                for kind in STREAMS
            )
        )


def _names() -> list[str]:
    """Token files of the input folder, then of the output folder, with one level of folders in them."""
    places = ((folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), " [output]"))
    found = [
        f"{path.relative_to(folder).as_posix()}{mark}"
        for folder, mark in places
        for pattern in ("*.safetensors", "*/*.safetensors")
        for path in sorted(Path(folder).glob(pattern))
    ]
    return found or [NONE]


def _path(file: str) -> Path:
    """The file, which must lie in one of the two folders, links resolved. Raises SyncLipError elsewhere."""
    name, base = folder_paths.annotated_filepath(file)
    folder = os.path.realpath(base or folder_paths.get_input_directory())
    path = os.path.realpath(os.path.join(folder, name.strip()))
    if os.path.commonpath((folder, path)) != folder or not path.endswith(".safetensors"):
        raise SyncLipError(f"file={file!r}: not a .safetensors file of ComfyUI's input or output folder")
    if not os.path.isfile(path):
        raise SyncLipError(f"file={file!r}: is not there; choose one from the list (press R to read the folders again)")
    return Path(path)
