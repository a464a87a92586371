"""Load Dubbing Demo."""

import os
from pathlib import Path
from typing import Any

import comfy.ops
import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io

from ... import synclip_core
from ...synclip_core.dubbing.audiopack_file import load_audiopack
from ...synclip_core.dubbing.linear_vae import load_linear_vae
from ...synclip_core.errors import SyncLipError
from ..shared import sockets
from ..shared.model_files import FOLDER
from .linear_video_vae import LinearVideoVae

PARTS = ("transformer.safetensors", "vae.safetensors", "audiopack.safetensors")
BUNDLED = Path(synclip_core.__file__).parent / "weights" / "dubbing"
TEXT = 4096  # width of Wan's text tokens; the toy model was trained without any text


class LoadDubbingDemo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipLoadDubbingDemo",
            display_name="Load Dubbing Demo",
            category=sockets.CATEGORY,
            description="A toy Wan VACE that dubs small faces on a CPU, with everything that Dub Sampler asks for: to "
            "try the workflow, or a training run, without gigabytes.",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=_names(),
                    tooltip="toy comes with the pack. Others: folders in models/synclip/dubbing with transformer, vae "
                    "and audiopack (.safetensors), as train/export_dubbing.py writes them.",
                )
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The toy Wan VACE."),
                io.Vae.Output(display_name="vae", tooltip="Its video code, for 8 pixels and 4 frames a latent."),
                sockets.AudioPack.Output(display_name="audiopack", tooltip="Says itself whose tokens drive it."),
                io.Conditioning.Output(display_name="positive", tooltip="Empty: the toy model reads no text."),
                io.Conditioning.Output(display_name="negative", tooltip="Empty as well."),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        if name is None:  # it comes by a link, later
            return True
        try:
            _folder(name)
        except SyncLipError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str) -> Any:
        stats = [os.stat(_folder(name) / part) for part in PARTS]
        return [(stat.st_mtime_ns, stat.st_size) for stat in stats]

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3  # elsewhere the pack loads without it

        transformer, vae, pack = (_folder(name) / part for part in PARTS)
        audiopack = load_audiopack(pack, ops=comfy.ops.manual_cast)
        model = comfy.sd.load_diffusion_model(str(transformer))
        (model,) = ModelSamplingSD3().patch(model, float(audiopack.metadata.get("shift", 1.0)))
        nothing = [[torch.zeros(1, 1, TEXT), {}]]
        return io.NodeOutput(model, LinearVideoVae(load_linear_vae(vae)), audiopack, nothing, nothing)


def _places() -> list[Path]:
    """A user's own go before ours of the same name."""
    return [*(Path(folder) / "dubbing" for folder in folder_paths.get_folder_paths(FOLDER)), BUNDLED]


def _names() -> list[str]:
    found = [place for folder in _places() if folder.is_dir() for place in sorted(folder.iterdir())]
    return list(dict.fromkeys(p.name for p in found if all((p / part).is_file() for part in PARTS)))


def _folder(name: str) -> Path:
    """Only listed names are taken, so the folder lies where ComfyUI keeps models, or is ours. Raises SyncLipError."""
    if name not in _names():
        raise SyncLipError(f"name={name!r}: no such folder in models/synclip/dubbing with {', '.join(PARTS)}")
    return next(place / name for place in _places() if all((place / name / part).is_file() for part in PARTS))
