"""Wan VACE transformers for training: at random, from diffusers' layout, or from ComfyUI's one file."""

from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError
from train.dubbing.config import DubbingConfig

HEAD = 128


def open_transformer(config: DubbingConfig) -> Any:
    """diffusers' WanVACETransformer3DModel, float32, with `inner_dim`. Raises SyncLipError."""
    from diffusers import WanVACETransformer3DModel

    if config.transformer_path:
        model = _read(Path(config.transformer_path))
    else:
        sizes = config.transformer
        model = WanVACETransformer3DModel(
            num_attention_heads=sizes.heads,
            attention_head_dim=HEAD,
            num_layers=sizes.layers,
            ffn_dim=sizes.ffn,
            text_dim=sizes.text_dim,
            vace_layers=list(range(0, sizes.layers, sizes.layers // sizes.vace_layers)),
        )
    model.inner_dim = model.config.num_attention_heads * model.config.attention_head_dim
    return model


def _read(path: Path) -> Any:
    from diffusers import WanVACETransformer3DModel

    try:
        if path.is_dir():
            return WanVACETransformer3DModel.from_pretrained(path, local_files_only=True)
        return WanVACETransformer3DModel.from_single_file(str(path), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise SyncLipError(f"{path}: no Wan VACE transformer that diffusers can read ({error})") from error
