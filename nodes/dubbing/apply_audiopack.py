"""Apply AudioPack: tokens drive the mouth that a Wan VACE model generates."""

from typing import Any

from comfy_api.latest import io

from ...synclip_core.dubbing.audiopack_file import AudioPackFile
from ...synclip_core.dubbing.control import control_of
from ..shared import sockets
from ..shared.progress import follower
from ..shared.values import Tokens
from .audiopack_drive import Drive, driving


class ApplyAudioPack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def share(name: str, default: float, tooltip: str) -> io.Input:
            return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.001, tooltip=tooltip)

        return io.Schema(
            node_id="SyncLipApplyAudioPack",
            display_name="Apply AudioPack",
            category=sockets.CATEGORY,
            description="Lets a voice, or the mouth of a performance, drive the video that a Wan VACE model makes. "
            "The video is one of 25 fps.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A Wan VACE model of the AudioPack's size. Where it already has an AudioPack, the two add "
                    "up: give them different ranges of sampling, or strengths that sum up to 1.",
                ),
                sockets.AudioPack.Input("audiopack", tooltip="From Load AudioPack."),
                sockets.Tokens.Input(
                    "tokens",
                    tooltip="What drives the mouth: audio tokens (this voice) or vocal tokens (that performance), of "
                    "the checkpoint that the AudioPack belongs to. One a frame at 25 fps, so the generated video "
                    "is one of 25 fps: save it at that rate.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly the tokens act. 1: as trained; 0: not at all.",
                ),
                share("start_percent", 0.0, "From which share of sampling on they act; 0 is its beginning."),
                share("end_percent", 1.0, "Up to which share of sampling they act; 1 is its end."),
                io.Float.Input(
                    "audio_guidance",
                    default=1.0,
                    min=1.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Over 1, each step also runs without the tokens and the result is pushed away from that, "
                    "for a clearer mouth in twice the time. 1: off, at no cost.",
                ),
                io.Int.Input(
                    "references",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="How many reference latents stand before the video: the output trim_latent of "
                    "WanVaceToVideo or of the node that made the conditioning.",
                ),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Which frame of the tokens, at 25 fps, belongs to the first generated frame. For parts "
                    "of a long video.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For the sampler.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        audiopack: AudioPackFile,
        tokens: Tokens,
        strength: float,
        start_percent: float,
        end_percent: float,
        audio_guidance: float,
        references: int,
        first_frame: int,
    ) -> io.NodeOutput:
        network = audiopack.network
        values, valid = driving("Apply AudioPack", model, audiopack, tokens)
        control = control_of(network, values, valid, first_frame, progress=follower())
        if not strength:
            return io.NodeOutput(model.clone())
        drive = Drive(
            control.scaled(strength), network.config.inject_at, references, start_percent, end_percent, audio_guidance
        )
        return io.NodeOutput(drive.added_to(model))
