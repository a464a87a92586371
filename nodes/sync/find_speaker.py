"""Find Speaker: which of several faces talks."""

import json
from typing import Any

from comfy_api.latest import io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.info import probe
from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.panel import RED, draw_message
from ..shared.progress import follower
from ..shared.tensors import picture_to_image, shown
from ..shared.video_input import video_file
from .speakers_panel import draw_speakers


class FindSpeaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipFindSpeaker",
            display_name="Find Speaker",
            category=sockets.CATEGORY,
            description="Which of several faces does the voice belong to? Every face is measured against the voice.",
            inputs=[
                io.Video.Input("video", tooltip="A video with faces and a voice. Streamed, however long it is."),
                sockets.model_input(),
                sockets.max_lag_input(),
            ],
            outputs=[
                io.String.Output(
                    display_name="face",
                    tooltip="Where the likeliest speaker is, as x,y in pixels: for the input face of other nodes. A "
                    "guess where found is false; auto where there is no face.",
                ),
                io.Boolean.Output(display_name="found", tooltip="Does a mouth fit the voice clearly?"),
                io.Int.Output(display_name="faces", tooltip="How many faces were followed."),
                io.String.Output(display_name="json", tooltip="Every face: where, when, lag and confidence."),
                io.Image.Output(display_name="picture", tooltip="Every face, with the times when it talks."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, video: Any, max_lag: int, model: ManagedModel | None = None) -> io.NodeOutput:
        words = ""
        with video_file(video) as path:
            probe(path)  # what is no media file is an error
            try:
                faces = (model or bundled()).pipeline(max_lag=max_lag).speakers(path, progress=follower())
            except SyncLipError as error:  # without sound, say: the other takes of a batch go on
                faces, words = [], f"error: {str(error).removeprefix(f'{path}: ')}"
        data = [face.to_json() for face in faces]
        picture = picture_to_image(draw_message(words, RED) if words else draw_speakers(faces))
        # nothing seen: "auto" keeps the nodes that follow at work, and `found` says that it is a guess
        where = data[0]["face"] if data else "auto"
        return io.NodeOutput(
            where,
            any(face.talks for face in faces),
            len(faces),
            json.dumps(data),
            picture,
            ui=shown(cls, picture, text=(words or where,), synclip_faces=(data,)),
        )
