"""Published weights as a start: ViT encoders (Sapiens, timm and MAE, transformers), wav2vec2 and HuBERT (transformers).

Only safetensors are read. Weights in a pickle (.pth, .bin) must be converted first, in an environment of their own:

    from safetensors.torch import save_file
    save_file(torch.load("in.pth", weights_only=True), "out.safetensors")
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import SyncLipError
from .config import AudioConfig
from .speech import SpeechEncoder
from .visual_encoder import LinearStem, VisualEncoder

# Our name of a block's part -> the published ones. Sapiens is mmpretrain's VisionTransformer; MAE's code is timm's.
BLOCK_PARTS = {
    "norm1": ("ln1", "norm1", "layernorm_before"),
    "attn.qkv": ("attn.qkv",),
    "attn.proj": ("attn.proj", "attention.output.dense", "attention.o_proj"),
    "norm2": ("ln2", "norm2", "layernorm_after"),
    "mlp.fc1": ("ffn.layers.0.0", "mlp.fc1", "intermediate.dense"),
    "mlp.fc2": ("ffn.layers.1", "mlp.fc2", "output.dense"),
}
SEPARATE_QKV = (
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
)
PATCH_EMBED = ("patch_embed.projection", "patch_embed.proj", "embeddings.patch_embeddings.projection")
POSITION = ("pos_embed", "embeddings.position_embeddings")
FINAL_NORM = ("ln1", "norm", "layernorm", "fc_norm")
BLOCK = re.compile(r"^(?P<prefix>.*?)(?:encoder\.layer|layers|blocks)\.0\.(?:ln1|norm1|layernorm_before)\.weight$")


def load_vit(encoder: VisualEncoder, path: str | Path) -> None:
    """Start `encoder` (stem "linear") from a published ViT of the same width, depth and patch size.

    The position embedding is resized to the encoder's grid; prompts stay as they are; heads and decoders in the file
    are not used. Raises SyncLipError when the file is no ViT or has other sizes.
    """
    if not isinstance(encoder.patch_embed, LinearStem):
        raise SyncLipError(f"{path}: a published ViT needs visual.stem: linear")
    state = _read(Path(path))
    found = next((m for m in map(BLOCK.match, state) if m), None)
    if found is None:
        raise SyncLipError(f"{path}: no ViT in it (Sapiens, timm, MAE and transformers layouts are known)")
    root = found["prefix"]
    layers = found.string[: found.start() + len(root)] + found.string[len(root) :].split(".0.", 1)[0]
    depth = len({k[len(layers) + 1 :].split(".")[0] for k in state if k.startswith(f"{layers}.")})
    if depth != len(encoder.blocks):
        raise SyncLipError(f"{path}: a ViT of {depth} layers, visual.depth is {len(encoder.blocks)}")

    def take(names: tuple[str, ...], prefix: str, kind: str = ".weight") -> Tensor:
        for name in names:
            if f"{prefix}{name}{kind}" in state:
                return state[f"{prefix}{name}{kind}"]
        raise SyncLipError(f"{path}: {prefix}{names[0]}{kind} is missing")

    own: dict[str, Tensor] = {}
    for kind in (".weight", ".bias"):
        own[f"patch_embed.proj{kind}"] = take(PATCH_EMBED, root, kind)
        own[f"norm{kind}"] = take(FINAL_NORM, root, kind)
        for index in range(depth):
            prefix = f"{layers}.{index}."
            for part, names in BLOCK_PARTS.items():
                separate = next((n for n in SEPARATE_QKV if f"{prefix}{n[0]}{kind}" in state), None)
                if part == "attn.qkv" and separate:
                    value = torch.cat([state[f"{prefix}{name}{kind}"] for name in separate])
                else:
                    value = take(names, prefix, kind)
                own[f"blocks.{index}.{part}{kind}"] = value
    own["pos_embed"] = resize_position(take(POSITION, root, ""), encoder.grid, encoder.config.image_size)
    _copy(encoder, own, path)


def resize_position(position: Tensor, grid: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """[1, (cls +) h * w, width] -> [1, H * W, width], bicubic; the class token's row is dropped.

    The source grid is square, or else has the shape of the target image (Sapiens: 64 x 48 of 1024 x 768).
    """
    count = position.shape[1]
    for rows in (count, count - 1):
        side = round(rows**0.5)
        if side * side == rows:
            height, width = side, side
            break
        height = round((rows * image_size[0] / image_size[1]) ** 0.5)
        width = rows // max(1, height)
        if height * width == rows and abs(height / width - image_size[0] / image_size[1]) < 0.02:
            break
    else:
        raise SyncLipError(f"position embedding of {count} rows: neither a square nor the shape of the image")
    cells = position[:, count - height * width :].float()
    if (height, width) == grid:
        return cells
    picture = cells.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    resized = F.interpolate(picture, grid, mode="bicubic", align_corners=False, antialias=True)
    return resized.permute(0, 2, 3, 1).flatten(1, 2)


def speech_config(path: str | Path) -> AudioConfig:
    """The AudioConfig (linear adapter over all layers, as in the paper) that fits a published speech encoder.

    path: a folder with config.json and model.safetensors in transformers' format, or the .safetensors alone, whose
    sizes are then read off the weights. Raises SyncLipError when it is neither wav2vec2 nor HuBERT.
    """
    weights = _speech_weights(Path(path))
    described = weights.parent / "config.json"
    if Path(path).is_dir() and described.exists():
        try:
            settings = json.loads(described.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SyncLipError(f"{described}: not valid JSON ({error})") from error
        front_end = settings.get("model_type")
        if front_end not in ("wav2vec2", "hubert"):
            raise SyncLipError(f"{described}: model_type is {front_end!r}; expected wav2vec2 or hubert")
        kept = {key: settings[key] for key in SHAPING if key in settings}
        width, layers = kept.pop("hidden_size", 768), kept.pop("num_hidden_layers", 12)
        return AudioConfig(front_end=front_end, width=width, depth=layers + 1, encoder=kept)
    raw = _read(weights)
    state = _without_prefix(raw)
    try:
        width = len(state["encoder.layer_norm.weight"])
        layers = len({key.split(".")[2] for key in state if key.startswith("encoder.layers.")})
        convs = [k for k in state if re.fullmatch(r"feature_extractor\.conv_layers\.\d+\.conv\.weight", k)]
        layer_norm = "feature_extractor.conv_layers.1.layer_norm.weight" in state
        encoder = {
            "intermediate_size": len(state["encoder.layers.0.feed_forward.intermediate_dense.weight"]),
            "conv_dim": [len(state[f"feature_extractor.conv_layers.{i}.conv.weight"]) for i in range(len(convs))],
            "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in state,
            # the large models normalise every convolution and put the layer norm first; the base ones do neither
            "feat_extract_norm": "layer" if layer_norm else "group",
            "do_stable_layer_norm": layer_norm,
        }
    except KeyError as error:
        raise SyncLipError(f"{path}: no wav2vec2 or HuBERT in transformers' format ({error} is missing)") from error
    hubert = "hubert" in str(path).lower() or any(key.startswith("hubert.") for key in raw)
    return AudioConfig(front_end="hubert" if hubert else "wav2vec2", width=width, depth=layers + 1, encoder=encoder)


# What of a transformers config.json shapes the network
SHAPING = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "feat_extract_norm",
    "feat_extract_activation",
    "feat_proj_layer_norm",
    "do_stable_layer_norm",
    "hidden_act",
    "layer_norm_eps",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
)


def load_speech_encoder(front_end: nn.Module, path: str | Path) -> None:
    """Published weights into a SpeechEncoder built with the config of `speech_config`. path: as there.

    Heads (CTC, pretraining) in the file are not used. Raises SyncLipError when something is missing or has another
    shape.
    """
    if not isinstance(front_end, SpeechEncoder):
        raise SyncLipError(f"{path}: audio.front_end is mel, which has no weights; set it to wav2vec2 or hubert")
    state = _without_prefix(_read(_speech_weights(Path(path))))
    wanted = front_end.network.state_dict()
    own = {key: value for key, value in state.items() if key in wanted}
    # "masked_spec_embed" only serves their own pretraining, and some files leave it out
    missing = sorted(set(wanted) - set(own) - {"masked_spec_embed"})
    if missing:
        raise SyncLipError(f"{path}: {missing[0]} is missing ({len(missing)} tensors in all)")
    _copy(front_end.network, own, path)


def _speech_weights(path: Path) -> Path:
    return path / "model.safetensors" if path.is_dir() else path


def _without_prefix(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with the prefix of a task model removed and the weight norm in torch's present naming."""
    state = {}
    for key, value in raw.items():
        key = re.sub(r"^(wav2vec2|hubert)\.", "", key)
        key = key.replace("pos_conv_embed.conv.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0")
        key = key.replace("pos_conv_embed.conv.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1")
        state[key] = value
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise SyncLipError(f"{path}: only .safetensors are read; synclip_core/models/pretrained.py says how to convert")
    try:
        with safe_open(str(path), "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise SyncLipError(f"{path}: cannot read the weights ({error})") from error


def _copy(module: nn.Module, tensors: dict[str, Any], path: str | Path) -> None:
    state = module.state_dict()
    for name, value in tensors.items():
        if state[name].shape != value.shape:
            raise SyncLipError(f"{path}: {name} is {list(value.shape)}, the config makes it {list(state[name].shape)}")
    module.load_state_dict(tensors, strict=False)
