"""Loaded by ComfyUI in tests, as a second pack: a small Wan VACE and what it takes to sample it without big files."""

import os

import comfy.ldm.wan.model
import comfy.ops
import folder_paths
import torch
from safetensors.torch import load_file, save_file

SIZES = {"dim": 128, "ffn_dim": 128, "freq_dim": 256, "text_dim": 4096, "num_heads": 1, "num_layers": 4}
CHANNELS = {"vace_layers": 2, "vace_in_dim": 96, "in_dim": 16, "out_dim": 16}


class MakeModel:
    """Writes a random one to models/diffusion_models, and the same without VACE."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"name": ("STRING", {}), "seed": ("INT", {})}})
    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "make", True, "test"

    def make(self, name, seed):
        torch.manual_seed(seed)
        model = comfy.ldm.wan.model.VaceWanModel(**SIZES, **CHANNELS, operations=comfy.ops.disable_weight_init)
        state = {}
        for key, tensor in model.state_dict().items():
            if "norm" in key:
                state[key] = torch.ones(tensor.shape) if key.endswith("weight") else torch.zeros(tensor.shape)
            else:
                fan_in = tensor[0].numel() if tensor.ndim > 1 and "modulation" not in key else 100
                state[key] = torch.randn(tensor.shape) * fan_in**-0.5
        folder = os.path.join(folder_paths.models_dir, "diffusion_models")
        os.makedirs(folder, exist_ok=True)
        save_file(state, os.path.join(folder, f"{name}.safetensors"))
        plain = {key: tensor for key, tensor in state.items() if not key.startswith("vace_")}
        save_file(plain, os.path.join(folder, f"{name}_plain.safetensors"))
        return {"ui": {"text": (str(len(state)),)}}


class Condition:
    """A random text condition. salt: changes nothing but that ComfyUI does not take a cached result."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"seed": ("INT", {}), "salt": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "make", "test"

    def make(self, seed, salt):
        return ([[torch.randn(1, 7, 4096, generator=torch.Generator().manual_seed(seed)), {}]],)


class Vae:
    """Encodes to something that depends on the pixels."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("VAE",), "make", "test"

    def make(self):
        return (self,)

    def encode(self, pixels):
        small = torch.nn.functional.avg_pool2d(pixels.mean(-1)[None], 8)[:, ::4]  # [1, 1 + (T - 1) // 4, H / 8, W / 8]
        return torch.stack([small * k / 8 for k in range(16)], 1)


class Call:
    """Calls the transformer of a MODEL as sampling does, with the tensors of a file; writes `<file>.out`."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"model": ("MODEL",), "file": ("STRING", {}), "window": ("STRING", {"default": ""})}}
    )
    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "call", True, "test"

    def call(self, model, file, window):
        import comfy.context_windows
        import comfy.model_management
        import comfy.patcher_extension

        comfy.model_management.load_models_gpu([model])
        given = load_file(file)
        options = comfy.model_patcher.create_model_options_clone(model.model_options)["transformer_options"]
        options = comfy.patcher_extension.merge_nested_dicts(options, {"wrappers": model.wrappers})
        options["sigmas"] = given["timestep"][:1] / 1000
        if window:  # "1,2,3", or "0+5,6,7" with a frame before it, as newer ComfyUIs have it
            anchor, _, indices = window.rpartition("+")
            found = comfy.context_windows.IndexListContextWindow([int(index) for index in indices.split(",")], dim=2)
            found.causal_anchor_index = int(anchor) if anchor else None
            options["context_window"] = found
        contexts = given["vace_context"]
        out = model.model.diffusion_model(
            given["x"],
            given["timestep"],
            given["context"],
            vace_context=contexts,
            vace_strength=[1.0] * contexts.shape[1],
            transformer_options=options,
        )
        save_file({"out": out.contiguous()}, f"{file}.out")
        return {"ui": {"text": (file,)}}


NODE_CLASS_MAPPINGS = {f"Test{cls.__name__}": cls for cls in (MakeModel, Condition, Vae, Call)}
