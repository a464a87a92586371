"""Encode Audio Tokens."""

from typing import Any

from comfy_api.latest import io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.audio import read_audio
from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.progress import check_cancel
from ..shared.sound import audio_socket, encode, encode_layers
from ..shared.video_input import video_file


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
                io.AudioEncoderOutput.Input(
                    "audio_encoder_output",
                    optional=True,
                    tooltip="What ComfyUI's own Audio Encoder Encode made of the voice, instead of audio. For "
                    "checkpoints that listen with wav2vec2; the bundled one does not.",
                ),
            ],
            outputs=[
                sockets.Tokens.Output(display_name="audio_tokens", tooltip="For Sync Score (Tokens) and Save Tokens.")
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ManagedModel | None = None,
        audio: Any = None,
        video: Any = None,
        audio_encoder_output: Any = None,
    ) -> io.NodeOutput:
        if sum(given is not None for given in (audio, video, audio_encoder_output)) != 1:
            raise SyncLipError("Encode Audio Tokens: connect audio, a video or audio_encoder_output, one of the three.")
        model = model or bundled()
        if audio_encoder_output is not None:
            return io.NodeOutput(encode_layers(model.pipeline(), audio_encoder_output, model.checkpoint.sha256))
        if audio is not None:
            waveform = audio_socket(audio)
        else:
            with video_file(video) as path:
                waveform = read_audio(path)  # on the video's clock
        check_cancel()
        return io.NodeOutput(encode(model.pipeline(), waveform, model.checkpoint.sha256))
