"""Save Tokens."""

import os

import folder_paths
from comfy_api.latest import io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.tokens.token_file import MASKS, STREAMS, write_tokens
from ..shared import sockets
from ..shared.values import Tokens, together


class SaveTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def stream(kind: str) -> io.Input:
            return sockets.Tokens.Input(f"{kind}_tokens", optional=True, tooltip=f"The {kind} tokens, if wanted.")

        return io.Schema(
            node_id="SyncLipSaveTokens",
            display_name="Save Tokens",
            category=sockets.CATEGORY,
            description="Keeps token streams in a .safetensors file of the output folder, as `synclip tokens` does.",
            inputs=[
                *(stream(kind) for kind in STREAMS),
                io.String.Input(
                    "filename_prefix",
                    default="tokens/synclip",
                    tooltip="Folder and beginning of the name, in ComfyUI's output folder; a number is added.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="The name under which Load Tokens lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, filename_prefix: str, **streams: Tokens | None) -> io.NodeOutput:
        given = {kind: tokens for kind in STREAMS if (tokens := streams.get(f"{kind}_tokens")) is not None}
        if not given:
            raise SyncLipError("Save Tokens: connect at least one stream of tokens.")
        given = together(given)
        arrays = {kind: tokens.values for kind, tokens in given.items()}
        arrays |= {MASKS[kind]: tokens.mask for kind, tokens in given.items()}
        if "vocal" in given and len(given["vocal"].look):
            arrays["look"] = given["vocal"].look
        try:
            folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
                filename_prefix, folder_paths.get_output_directory()
            )
        except Exception as error:  # ComfyUI raises a bare Exception for a folder outside its own
            raise SyncLipError(
                f"filename_prefix={filename_prefix!r}: leads out of ComfyUI's output folder; name a folder inside it"
            ) from error
        file = f"{name}_{counter:05}_.safetensors"
        first = next(iter(given.values()))
        write_tokens(os.path.join(folder, file), arrays, first.model, max(t.faces for t in given.values()))
        shown = f"{os.path.join(subfolder, file)} [output]"
        words = f"{shown}: " + ", ".join(f"{kind} {list(t.values.shape)}" for kind, t in given.items())
        return io.NodeOutput(shown, ui={"text": (words,)})
