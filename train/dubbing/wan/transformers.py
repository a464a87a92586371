"""Wan VACE transformers for training: at random, from diffusers' layout, or from ComfyUI's one file."""

from pathlib import Path
from typing import Any

from torch import Tensor

from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from train.dubbing.config import DubbingConfig
from train.dubbing.wan.layouts import HEAD, sizes_of


def open_transformer(config: DubbingConfig) -> Any:
    """diffusers' WanVACETransformer3DModel, float32, with `inner_dim`. Raises SyncLipError."""
    from diffusers import WanVACETransformer3DModel

    path, sizes = Path(config.transformer_path), config.transformer
    if not config.transformer_path:
        model = WanVACETransformer3DModel(
            num_attention_heads=sizes.heads,
            attention_head_dim=HEAD,
            num_layers=sizes.layers,
            ffn_dim=sizes.ffn,
            text_dim=sizes.text_dim,
            vace_layers=list(range(0, sizes.layers, sizes.layers // sizes.vace_layers)),
        )
    elif path.is_dir():
        try:
            model = WanVACETransformer3DModel.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise SyncLipError(f"{path}: no Wan VACE transformer in diffusers' layout ({error})") from error
    else:
        model = _from_comfy(path)
    model.inner_dim = model.config.num_attention_heads * model.config.attention_head_dim
    return model


def open_prompt(path: str | Path, text_dim: int) -> Tensor:
    """A file of train.encode_prompt, [L, text_dim]. Raises SyncLipError."""
    tensors, _ = read_safetensors(path)
    prompt = tensors.get("prompt")
    if prompt is None or prompt.ndim != 2 or prompt.shape[1] != text_dim:
        raise SyncLipError(
            f"{path}: no text for this transformer, which takes rows of {text_dim}; expected a file of "
            "train.encode_prompt"
        )
    return prompt.float()


def _from_comfy(path: Path) -> Any:
    from diffusers import WanVACETransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    tensors, _ = read_safetensors(path)
    tensors = {name.removeprefix("model.diffusion_model."): tensor.float() for name, tensor in tensors.items()}
    try:
        model = WanVACETransformer3DModel(**sizes_of(tensors))
        model.load_state_dict(convert_wan_transformer_to_diffusers(tensors))
    except (SyncLipError, RuntimeError) as error:
        raise SyncLipError(f"{path}: {error}") from error
    return model
