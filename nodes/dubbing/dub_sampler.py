"""Dub Sampler."""

import logging
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.samplers
import folder_paths
import numpy as np
import torch
from comfy_api.latest import InputImpl, io

from ...synclip_core.clock import FPS
from ...synclip_core.dubbing.audiopack_file import AudioPackFile
from ...synclip_core.dubbing.face import MARGIN, FacePath, follow_face
from ...synclip_core.dubbing.job import DubOptions, dub
from ...synclip_core.dubbing.store import PartStore, file_digest
from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.selection import parse_choice
from ..shared import sockets
from ..shared.progress import follower, show_result
from ..shared.sound import native_audio
from ..shared.tensors import picture_to_image, shown, to_uint8
from ..shared.values import Tokens
from ..shared.video_input import output_file, video_file
from .audiopack_drive import driving
from .dub_conditioning import resized
from .dub_inputs import contents_digest, model_digest
from .dub_painter import SamplerPainter, Sampling
from .dub_preview import Preview
from .vace_conditioning import SIDE

JOBS = "synclip_jobs"
SIZE = 512  # of crops, where neither the node nor the AudioPack says


class DubSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipDubSampler",
            display_name="Dub Sampler",
            category=sockets.CATEGORY,
            description="Makes a face say what the tokens say, in a video of any length: follows the face, makes its "
            "lower half anew in segments with Wan VACE, and puts it back at full resolution.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan VACE model, without an AudioPack on it."),
                sockets.AudioPack.Input("audiopack", tooltip="From Load AudioPack."),
                io.Vae.Input("vae", tooltip="The VAE of Wan 2.1."),
                io.Conditioning.Input("positive", tooltip="The prompt; a plain one such as 'a person talking'."),
                io.Conditioning.Input("negative", tooltip="The negative prompt. Not looked at where cfg is 1."),
                io.Video.Input("video", tooltip="The video to dub. Any length, size and frame rate; streamed."),
                sockets.Tokens.Input(
                    "tokens",
                    tooltip="What drives the mouth: audio tokens of the new voice, or vocal tokens of another "
                    "performance. They begin with the video.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The sound of the result, kept as it is. Nothing connected: the video's own.",
                ),
                io.Image.Input(
                    "identity",
                    optional=True,
                    tooltip="A crop of the person from Track Faces. Nothing connected: the surest one of the video.",
                ),
                # never drawn anew by the page: a run that was cut could not go on
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    tooltip="Of the noise.",
                ),
                io.Int.Input("steps", default=20, min=1, max=200, tooltip="Of sampling, for every segment."),
                io.Float.Input(
                    "cfg", default=1.0, min=0.0, max=30.0, step=0.1, tooltip="Guidance by the prompts. 1: off, fastest."
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.KSampler.SAMPLERS,
                    default="euler",
                    tooltip="Of each segment.",
                ),
                io.Combo.Input(
                    "scheduler", options=comfy.samplers.KSampler.SCHEDULERS, default="simple", tooltip="Noise levels."
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=10.0, step=0.01, tooltip="How strongly the tokens act."
                ),
                io.Float.Input(
                    "audio_guidance",
                    default=1.0,
                    min=1.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Over 1 the mouth follows more clearly, in twice the time.",
                ),
                io.String.Input("face", default="auto", tooltip=sockets.FACE_TOOLTIP),
                io.Combo.Input("missing", options=sockets.MISSING, default="hold", tooltip=sockets.MISSING_TOOLTIP),
                io.Int.Input(
                    "crop_size",
                    default=0,
                    min=0,
                    max=1024,
                    step=SIDE,
                    tooltip="Side of the face crops in pixels. 0: what the AudioPack was trained with.",
                ),
                io.Boolean.Input(
                    "match_colours", default=True, tooltip="Bring the colours of what was made to the video's."
                ),
                io.Int.Input(
                    "crf", default=17, min=0, max=51, tooltip="Quality of the written video (H.264); lower: better."
                ),
                io.Boolean.Input(
                    "resume",
                    default=True,
                    tooltip="Keep finished segments in output/synclip_jobs until the video is done, so that a run that "
                    "was cut goes on where it stood. Other inputs begin anew.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="As many frames as the source, at their times."),
                io.Image.Output(display_name="preview", tooltip="Source above, result below."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, face: str | None = "auto", missing: str | None = "hold") -> bool | str:
        if wrong := sockets.wrong_face(face):
            return wrong
        if face is not None and parse_choice(face) == "speaker":
            return "face='speaker': connect Find Speaker here, or name the face"
        return sockets.one_of(missing=(missing, sockets.MISSING))

    @classmethod
    def execute(
        cls,
        model: Any,
        audiopack: AudioPackFile,
        vae: Any,
        positive: Any,
        negative: Any,
        video: Any,
        tokens: Tokens,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        strength: float,
        audio_guidance: float,
        face: str,
        missing: str,
        crop_size: int,
        match_colours: bool,
        crf: int,
        resume: bool,
        audio: Any = None,
        identity: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        values, valid = driving("Dub Sampler", model, audiopack, tokens)
        crop = audiopack.metadata.get("crop", {})
        size, margin = crop_size or int(crop.get("size", SIZE)), float(crop.get("margin", MARGIN))
        if size % SIDE:
            raise SyncLipError(f"crop_size={size}: expected a multiple of {SIDE}")
        sampling = Sampling(seed, steps, cfg, sampler_name, scheduler, strength, audio_guidance)
        painter = SamplerPainter(
            model,
            vae,
            positive,
            negative,
            audiopack,
            values,
            valid,
            sampling,
            margin,
        )
        options = DubOptions(
            match=match_colours,
            guessed=missing != "skip",
            crf=crf,
            identity=None if identity is None else to_uint8(resized(identity[-1:], size)[0]),
            audio=None if audio is None else native_audio(audio),
            refresh=audiopack.refresh,
        )
        target = output_file(".mp4")
        with video_file(video) as path:
            place = _follow(path, size, margin, face, missing)
            _warn(place, valid.numpy())
            store = None
            if resume:
                things = (positive, negative, values, valid, audiopack.network, vae_weights(vae), identity)
                inputs = {
                    "refresh": options.refresh,
                    "video": file_digest(path),
                    "model": model_digest(model),
                    "things": contents_digest(*things),
                    "sampling": repr(sampling),
                    "face": [face, missing, size, margin, match_colours],
                }
                store = PartStore(Path(folder_paths.get_output_directory()) / JOBS, inputs)
            preview = Preview(len(place.ticks))
            dub(path, target, place, painter, options, store, preview.watch)
            sheet = preview.sheet()
        show_result(sheet)
        picture = picture_to_image(sheet)
        return io.NodeOutput(InputImpl.VideoFromFile(str(target)), picture, ui=shown(cls, picture))


def vae_weights(vae: Any) -> Any:
    """What a VAE is known by: a few of its weights."""
    state = vae.first_stage_model.state_dict()
    return [state[name] for name in sorted(state)[:4]]


def _follow(path: Path, size: int, margin: float, face: str, missing: str) -> FacePath:
    device, step = str(comfy.model_management.get_torch_device()), follower()

    def watch(tick: int, expected: int, _: np.ndarray) -> None:
        step(tick + 1, max(expected, tick + 1))

    return follow_face(path, size, margin, parse_choice(face), missing, device, watch)


def _warn(place: FacePath, valid: np.ndarray) -> None:
    """Say where frames are dubbed without a token."""
    ticks = np.flatnonzero(place.track >= 0)
    without = sum(1 for tick in ticks if tick >= len(valid) or not valid[tick])
    if without:
        logging.warning(
            f"Dub Sampler: {without} of the {len(ticks)} frames with a face have no token (the tokens last "
            f"{len(valid) / FPS:.2f} s, the video {len(place) / FPS:.2f} s); what the mouth does there is a guess"
        )
