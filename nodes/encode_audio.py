"""Encode Audio Tokens."""

from typing import Any

from comfy_api.latest import io

from ..synclip_core.errors import SyncLipError
from ..synclip_core.media.audio import read_audio
from . import sockets
from .managed_model import ManagedModel, bundled
from .progress import check_cancel
from .sound import audio_socket, encode
from .video_input import video_file


class EncodeAudioTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipEncodeAudioTokens",
            display_name="Encode Audio Tokens",
            category=sockets.CATEGORY,
            description="Turns a voice into audio tokens, one a frame at 25 fps.",
            inputs=[
                sockets.model_input(),
                io.Audio.Input("audio", optional=True, tooltip="The voice. It begins with the first video frame."),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A video whose own sound is taken, instead of audio. Start offsets in the file are kept.",
                ),
            ],
            outputs=[sockets.Tokens.Output(display_name="audio_tokens", tooltip="For Sync Score (Tokens).")],
        )

    @classmethod
    def execute(cls, model: ManagedModel | None = None, audio: Any = None, video: Any = None) -> io.NodeOutput:
        if (audio is None) == (video is None):
            raise SyncLipError("Encode Audio Tokens: connect audio or a video, one of the two.")
        if audio is not None:
            waveform = audio_socket(audio)
        else:
            with video_file(video) as path:
                waveform = read_audio(path)  # on the video's clock
        check_cancel()
        model = model or bundled()
        return io.NodeOutput(encode(model.pipeline(), waveform, model.checkpoint.sha256))
