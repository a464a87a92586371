"""A published ViT as the start of the visual encoder: Sapiens (mmpretrain), MAE and timm, transformers.

What such a ViT expects of a picture is folded into its patch embedding, as our frames go in as -1..1.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SyncLipError
from .pretrained import copy_tensors, read_tensors
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
# Of the tokens before the first block, in ViTs that are more than the one of Dosovitskiy et al. 2021
FOREIGN = ("norm_pre.", "ln_pre.", "pre_norm.", "reg_token", "embeddings.register_tokens", "embeddings.layernorm.")


class Norm(NamedTuple):
    """What a network expects of a picture of 0..1: (picture - mean) / std, by channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# "imagenet": MAE, Sapiens (123.675, ... and 58.395, ... of 0..255), DeiT, DINO; "half": Google's ViTs and timm's augreg
NORMS = {
    "imagenet": Norm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Norm((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def load_vit(encoder: VisualEncoder, path: str | Path, norm: str = "auto") -> None:
    """Start `encoder` (stem "linear") from a published ViT of the same width, depth and patch size.

    path: .safetensors, or a folder with model.safetensors and what its library writes beside it. norm: which pictures
    the ViT expects, a name of NORMS; "auto": as the folder says, or else told by the weights (see `told_norm`).
    The position embedding is resized to the encoder's grid; prompts stay as they are; class token, heads and decoders
    in the file are not used. Raises SyncLipError when the file is no such ViT, has other sizes, or tells no norm.
    """
    if not isinstance(encoder.patch_embed, LinearStem):
        raise SyncLipError(f"{path}: a published ViT needs visual.stem: linear")
    folder = Path(path) if Path(path).is_dir() else None
    state = read_tensors(Path(path) / "model.safetensors" if folder else Path(path))
    # a MAE's decoder is made of the same blocks
    found = next((m for m in map(BLOCK.match, state) if m and "decoder" not in m["prefix"]), None)
    if found is None:
        raise SyncLipError(f"{path}: no ViT in it (Sapiens, timm, MAE and transformers layouts are known)")
    root = found["prefix"]
    layers = found.string[: found.start() + len(root)] + found.string[len(root) :].split(".0.", 1)[0]
    depth = len({k[len(layers) + 1 :].split(".")[0] for k in state if k.startswith(f"{layers}.")})
    if depth != len(encoder.blocks):
        raise SyncLipError(f"{path}: a ViT of {depth} layers, visual.depth is {len(encoder.blocks)}")
    taken: set[str] = set()

    def take(names: tuple[str, ...], prefix: str, kind: str = ".weight") -> Tensor:
        for name in names:
            if f"{prefix}{name}{kind}" in state:
                taken.add(f"{prefix}{name}{kind}")
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
                    value = torch.cat([take((name,), prefix, kind) for name in separate])
                else:
                    value = take(names, prefix, kind)
                own[f"blocks.{index}.{part}{kind}"] = value
    left = [k for k in state if k.startswith((f"{layers}.", *(root + name for name in FOREIGN))) and k not in taken]
    if left:
        raise SyncLipError(f"{path}: {left[0]} has no place in this encoder, which is a plain ViT")
    position = take(POSITION, root, "")
    expected = _norm(norm, path, folder, position, f"{layers}.0.ln1.weight" in state)
    own["patch_embed.proj.weight"], own["patch_embed.proj.bias"] = folded(
        own["patch_embed.proj.weight"], own["patch_embed.proj.bias"], expected
    )
    own["pos_embed"] = resize_position(position, encoder.grid, encoder.config.image_size)
    copy_tensors(encoder, own, path)


def folded(weight: Tensor, bias: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """A patch embedding of pictures as `norm` has them -> one of frames in -1..1, which gives the same.

    weight: [width, 3, p, p]; bias: [width]. As y = 2 x - 1, (x - mean) / std = y / (2 std) + (1/2 - mean) / std.
    Patches do not overlap and nothing is padded, so that the constant goes into the bias.
    """
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in norm)
    wide = weight.double()
    constant = (wide * (0.5 - mean) / std).sum((1, 2, 3))
    return (wide / (2 * std)).float(), (bias.double() + constant).float()


def _norm(name: str, path: str | Path, folder: Path | None, position: Tensor, mmpretrain: bool) -> Norm:
    if name != "auto":
        if name not in NORMS:
            raise SyncLipError(f"init.visual_norm is {name!r}; expected auto, {' or '.join(NORMS)}")
        return NORMS[name]
    found = (folder and described_norm(folder)) or told_norm(position, mmpretrain)
    if found is None:
        raise SyncLipError(
            f"{path}: does not say which pictures it expects. Set init.visual_norm: half for Google's ViTs and timm's "
            "augreg, imagenet for DeiT and DINO; or name the folder that it was published in"
        )
    return found


def described_norm(folder: Path) -> Norm | None:
    """From transformers' preprocessor_config.json or timm's config.json; None where neither says.

    Raises SyncLipError where what they say is no mean and deviation of three channels.
    """
    for name, keys in (("preprocessor_config.json", ("image_mean", "image_std")), ("config.json", ("mean", "std"))):
        place = folder / name
        try:
            said: Any = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
            said = said.get("pretrained_cfg", {}) if name == "config.json" else said
            if keys[0] not in said:
                continue
            if not said.get("do_normalize", True):
                return Norm((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
            mean, std = ([float(value) for value in said[key]] for key in keys)
            if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
                raise ValueError(f"{keys[0]} {mean}, {keys[1]} {std}")
            return Norm((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SyncLipError(f"{place}: expected a mean and a deviation of three channels ({error})") from error
    return None


def told_norm(position: Tensor, mmpretrain: bool) -> Norm | None:
    """What the weights tell of the pictures that they expect; None where several preprocessings are usual.

    A MAE, Sapiens among them, has ImageNet's mean, and a fixed position embedding that is zero for the class token; a
    learned one never is. mmpretrain's names without a class token are Sapiens' models for tasks.
    """
    side = round((position.shape[1] - 1) ** 0.5)
    has_class = side * side == position.shape[1] - 1
    if has_class:
        return NORMS["imagenet"] if not position[:, 0].any() else None
    return NORMS["imagenet"] if mmpretrain else None


def resize_position(position: Tensor, grid: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """[1, (cls +) h * w, width] -> [1, H * W, width], bicubic; the class token's row is dropped.

    Not antialiased, as MAE, mmpretrain and transformers have it (timm antialiases with another kernel). The source grid
    is square, or else has the shape of the target image (Sapiens' models for tasks: 64 x 48).
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
    resized = F.interpolate(picture, grid, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).flatten(1, 2)
