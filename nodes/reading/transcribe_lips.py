"""Transcribe Lips."""

import json
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.reading.read import read_lips
from ...synclip_core.reading.reader_file import BUNDLED_READER, load_reader
from ..shared import sockets
from ..shared.model_files import BUNDLED_NAME, READERS, fingerprint, names, path
from ..shared.progress import follower
from ..shared.tensors import picture_to_image, shown
from ..shared.values import Tokens
from .transcript_panel import draw_transcript


class TranscribeLips(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipTranscribeLips",
            display_name="Transcribe Lips",
            category=sockets.CATEGORY,
            description="Reads the lips: what is said, from the picture alone. The bundled reader knows the 51 words "
            "of GRID's English commands and nothing else.",
            inputs=[
                sockets.Tokens.Input("vocal_tokens", tooltip="From Encode Vocal-Motion Tokens."),
                io.Combo.Input(
                    "reader",
                    options=names(READERS),
                    default=BUNDLED_NAME,
                    tooltip="bundled: GRID's commands. Others: .safetensors files in models/synclip/readers, made by "
                    "train/finetune_vsr.py for the checkpoint that made the tokens.",
                ),
                io.Int.Input(
                    "beam", default=8, min=1, max=64, tooltip="Texts followed at once: more is slower and more exact."
                ),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="What was read; empty where nothing was."),
                io.String.Output(display_name="srt", tooltip="Subtitles, ready to be saved as .srt."),
                io.Float.Output(display_name="confidence", tooltip="0 to 1, mean over the words; nan without words."),
                io.Boolean.Output(
                    display_name="sure", tooltip="False where the reading is no better than a guess, or empty."
                ),
                io.String.Output(
                    display_name="json", tooltip="Words with times, as `synclip transcribe --json` has it."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, reader: str = BUNDLED_NAME) -> bool | str:
        return sockets.one_of(reader=(reader, names(READERS)))

    @classmethod
    def fingerprint_inputs(cls, reader: str, **_: Any) -> Any:
        return fingerprint(reader, BUNDLED_READER)

    @classmethod
    def execute(cls, vocal_tokens: Tokens, reader: str, beam: int) -> io.NodeOutput:
        if vocal_tokens.kind != "vocal":
            raise SyncLipError(
                f"Transcribe Lips: got {vocal_tokens.kind} tokens; connect the output vocal_tokens of Encode "
                "Vocal-Motion Tokens."
            )
        loaded = load_reader(path(reader))
        loaded.check(vocal_tokens.model)
        found = read_lips(
            loaded, vocal_tokens.values, vocal_tokens.mask, "tokens", follower(), replace(loaded.search, beam=beam)
        )
        data = found.to_json()
        confidence = float("nan") if found.confidence is None else found.confidence
        picture = picture_to_image(draw_transcript(found))
        return io.NodeOutput(
            found.text,
            found.to_srt(),
            confidence,
            found.verdict == "read",
            json.dumps(data),
            ui=shown(cls, picture, text=(found.text or found.note,), synclip_transcript=(data,)),
        )
