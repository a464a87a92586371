"""A published network gives here what it gives where it comes from, from a picture or a sound to the last layer.

The origins run by themselves with their own preprocessing; nothing of ours is put into them. Sizes are tiny and weights
random, layouts are the published ones.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from scipy.signal import resample_poly
from torch import Tensor, nn
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_STANDARD_MEAN

from synclip_core.errors import SyncLipError
from synclip_core.models.audio.speech import speech_front_end
from synclip_core.models.config import SyncLipMAEConfig, VisualConfig
from synclip_core.models.layers import sincos_position
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from synclip_core.models.pretrained_vit import load_vit
from synclip_core.models.visual_encoder import VisualEncoder

WIDTH, DEPTH, SIDE, GRID = 32, 2, 64, 4
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 4 * WIDTH,
    "image_size": SIDE,
}
IMAGENET = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
HALF = {"image_mean": IMAGENET_STANDARD_MEAN, "image_std": IMAGENET_STANDARD_MEAN}
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Three colours of unequal brightness, so that a wrong mean of a channel shows."""
    noise = np.random.default_rng(0).integers(0, 128, (2, SIDE, SIDE, 3))
    return (noise + [100, 30, 0]).astype(np.uint8)


def processor(mean: dict) -> transformers.ViTImageProcessor:
    return transformers.ViTImageProcessor(do_resize=False, **mean)


def random_weights(model: nn.Module, fixed_position: bool) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.05)
        if fixed_position:  # MAE and Sapiens: sines, and zeros for the class token
            for name, parameter in model.named_parameters():
                if name.endswith("embeddings.position_embeddings"):
                    parameter[:] = torch.cat([torch.zeros(1, WIDTH), sincos_position(WIDTH, GRID, GRID)])
    return model.eval()


@pytest.fixture(scope="module")
def mae() -> nn.Module:
    """Nothing hidden, so that it says something of all patches. As published: with its decoder."""
    decoder = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
    config = transformers.ViTMAEConfig(**SIZES, **decoder, decoder_intermediate_size=32, mask_ratio=0.0)
    return random_weights(transformers.ViTMAEForPreTraining(config), True)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return random_weights(transformers.ViTModel(transformers.ViTConfig(**SIZES)), False)


@torch.inference_mode()
def origin(model: nn.Module, mean: dict, pictures: np.ndarray) -> Tensor:
    """All tokens of the origin's last layer, the class token first."""
    pixels = processor(mean)(list(pictures), return_tensors="pt")["pixel_values"]
    if isinstance(model, transformers.ViTMAEForPreTraining):
        in_order = torch.arange(float(GRID * GRID)).expand(len(pictures), -1)
        return model.vit(pixels, noise=in_order).last_hidden_state
    return model(pixels, interpolate_pos_encoding=True).last_hidden_state


@torch.inference_mode()
def ours(path: Path, model: nn.Module, pictures: np.ndarray, norm: str = "auto") -> Tensor:
    """All tokens of our encoder's last layer on frames of 0..1, the origin's class token in place of the prompts."""
    torch.manual_seed(0)
    size = pictures.shape[1:3]
    encoder = VisualEncoder(VisualConfig(image_size=size, width=WIDTH, depth=DEPTH, heads=2)).eval()
    load_vit(encoder, path, norm)
    first = getattr(model, "vit", model).embeddings
    encoder.prompts = nn.Parameter(first.cls_token + first.position_embeddings[:, :1])
    patches, prompts = encoder(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    return torch.cat([prompts, patches], 1)  # the encoder parts them at the third, wherever the prompts end


# ---- layouts --------------------------------------------------------------------------------------------------------


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A ViT of transformers under timm's names, which are those of MAE's own files."""
    out = {"head.weight": torch.zeros(7, WIDTH)}
    for key, value in state.items():
        key = key.removeprefix("vit.")
        if key.startswith(("decoder.", "pooler.", "classifier.")) or "attention.attention." in key:
            continue
        for old, new in (
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("encoder.layer.", "blocks."),
            ("attention.output.dense", "attn.proj"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        ):
            key = key.replace(old, new)
        out[re.sub(r"^layernorm", "norm", key)] = value
    for key in state:
        if found := re.search(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)$", key):
            if "decoder" not in key:
                parts = [state[key.replace("query", part)] for part in ("query", "key", "value")]
                out[f"blocks.{found[1]}.attn.qkv.{found[2]}"] = torch.cat(parts)
    return out


def sapiens_names(state: dict[str, Tensor], prefix: str = "backbone.") -> dict[str, Tensor]:
    """The same under mmpretrain's names, with the decoder of its pretraining."""
    out = {"neck.decoder_blocks.0.ln1.weight": torch.zeros(5), "decoder.layers.0.ln1.weight": torch.zeros(5)}
    for key, value in timm_names(state).items():
        if key.startswith("head."):
            continue
        for old, new in (
            ("blocks.", "layers."),
            ("norm1", "ln1"),
            ("norm2", "ln2"),
            ("mlp.fc1", "ffn.layers.0.0"),
            ("mlp.fc2", "ffn.layers.1"),
            ("patch_embed.proj", "patch_embed.projection"),
        ):
            key = key.replace(old, new)
        out[prefix + re.sub(r"^norm", "ln1", key)] = value
    return out


def saved(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_mae_of_transformers(mae: nn.Module, pictures: np.ndarray, tmp_path: Path) -> None:
    """The folder as published, and the file alone; the decoder in it has blocks of its own names."""
    want = origin(mae, IMAGENET, pictures)
    state = saved(mae, tmp_path / "folder")
    processor(IMAGENET).save_pretrained(tmp_path / "folder")
    torch.testing.assert_close(ours(tmp_path / "folder", mae, pictures), want, **CLOSE)
    old = {key.replace("decoder_encoder.layer", "decoder_layers"): value for key, value in state.items()}
    save_file(old, tmp_path / "mae.safetensors")
    torch.testing.assert_close(ours(tmp_path / "mae.safetensors", mae, pictures), want, **CLOSE)


@pytest.mark.parametrize("mean", [HALF, IMAGENET], ids=["google", "dino"])
def test_vit_of_transformers(vit: nn.Module, pictures: np.ndarray, tmp_path: Path, mean: dict) -> None:
    """The same names and two preprocessings: the folder tells which."""
    saved(vit, tmp_path)
    processor(mean).save_pretrained(tmp_path)
    torch.testing.assert_close(ours(tmp_path, vit, pictures), origin(vit, mean, pictures), **CLOSE)
    with pytest.raises(SyncLipError, match=r"init\.visual_norm"):  # the file by itself does not tell
        ours(tmp_path / "model.safetensors", vit, pictures)
    norm = "half" if mean is HALF else "imagenet"
    own = ours(tmp_path / "model.safetensors", vit, pictures, norm)
    torch.testing.assert_close(own, origin(vit, mean, pictures), **CLOSE)


def test_a_picture_of_another_shape(vit: nn.Module, tmp_path: Path) -> None:
    """The position embedding is laid over the larger grid as its library lays it."""
    saved(vit, tmp_path)
    processor(HALF).save_pretrained(tmp_path)
    wide = np.random.default_rng(1).integers(0, 256, (2, SIDE + 16, SIDE + 64, 3)).astype(np.uint8)
    torch.testing.assert_close(ours(tmp_path, vit, wide), origin(vit, HALF, wide), **CLOSE)


def test_mae_under_its_own_names(mae: nn.Module, pictures: np.ndarray, tmp_path: Path) -> None:
    """mae_pretrain_vit_*, and timm's vit_*_patch16_224.mae."""
    save_file(timm_names(saved(mae, tmp_path)), tmp_path / "mae.safetensors")
    want = origin(mae, IMAGENET, pictures)
    torch.testing.assert_close(ours(tmp_path / "mae.safetensors", mae, pictures), want, **CLOSE)


@pytest.mark.parametrize("mean", [HALF, IMAGENET], ids=["augreg", "deit"])
def test_timm(vit: nn.Module, pictures: np.ndarray, tmp_path: Path, mean: dict) -> None:
    """A folder of timm's has a config.json with a pretrained_cfg in it."""
    state = timm_names(saved(vit, tmp_path / "origin"))
    save_file(state, tmp_path / "model.safetensors")
    told = {"mean": list(mean["image_mean"]), "std": list(mean["image_std"])}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_224", "pretrained_cfg": told}))
    torch.testing.assert_close(ours(tmp_path, vit, pictures), origin(vit, mean, pictures), **CLOSE)


@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_sapiens(mae: nn.Module, pictures: np.ndarray, tmp_path: Path, prefix: str) -> None:
    """Sapiens was pretrained as a MAE, in mmpretrain."""
    state = sapiens_names(saved(mae, tmp_path), prefix)
    want = origin(mae, IMAGENET, pictures)
    save_file(state, tmp_path / "sapiens.safetensors")
    torch.testing.assert_close(ours(tmp_path / "sapiens.safetensors", mae, pictures), want, **CLOSE)
    # its published models for tasks have no class token
    state[f"{prefix}pos_embed"] = state[f"{prefix}pos_embed"][:, 1:].clone()
    save_file(state, tmp_path / "pose.safetensors")
    torch.testing.assert_close(ours(tmp_path / "pose.safetensors", mae, pictures), want, **CLOSE)


def test_a_vit_with_more_in_its_blocks_is_refused(vit: nn.Module, pictures: np.ndarray, tmp_path: Path) -> None:
    """DINOv2 scales what its layers add, CLIP normalises before the first: left out, every feature would be wrong."""
    state = timm_names(saved(vit, tmp_path))
    for extra in ("blocks.0.ls1.gamma", "norm_pre.weight", "reg_token"):
        save_file({**state, extra: torch.ones(WIDTH)}, tmp_path / "other.safetensors")
        with pytest.raises(SyncLipError, match=re.escape(extra)):
            ours(tmp_path / "other.safetensors", vit, pictures, "half")


# ---- sounds ---------------------------------------------------------------------------------------------------------

BASE = {"feat_extract_norm": "group"}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


def voice(samples: int) -> np.ndarray:
    """float32 [samples]: forty tones under 3 kHz, which half the sampling rate keeps, and a constant."""
    rng = np.random.default_rng(0)
    time = np.arange(samples) / 16000
    tones = np.sin(2 * np.pi * rng.uniform(80, 3000, (40, 1)) * time + rng.uniform(0, 6, (40, 1)))
    return (0.02 * (rng.uniform(0, 1, (40, 1)) * tones).sum(0) + 0.02).astype(np.float32)


@pytest.mark.parametrize("align", ["features", "waveform"])
@pytest.mark.parametrize("settings", [BASE, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert"])
def test_speech_encoders(tmp_path: Path, kind: str, settings: dict, align: str) -> None:
    """A waveform through their own feature extractor and model, padded so that a row stands for a frame."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 96}
    config_class: Callable = getattr(transformers, f"{kind}Config")
    config = config_class(**sizes, conv_dim=[32] * 7, num_conv_pos_embedding_groups=4, **settings)
    torch.manual_seed(2)
    theirs = getattr(transformers, f"{kind}Model")(config).eval()
    theirs.save_pretrained(tmp_path)
    audio = speech_config(tmp_path)
    own = speech_front_end(SyncLipMAEConfig(audio=replace(audio, align=align)))
    load_speech_encoder(own, tmp_path)
    wave = voice(10 * 640)
    heard = wave
    if align == "waveform":  # half the sampling rate, by another library's resampler
        heard = resample_poly(wave, 1, 2, window=("kaiser", 8.0)).astype(np.float32)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    heard = extractor(heard, sampling_rate=16000, return_tensors="np")["input_values"][0]
    with torch.inference_mode():
        padded = torch.nn.functional.pad(torch.from_numpy(heard)[None], (40, 40))
        states = theirs(padded, output_hidden_states=True).hidden_states
        layers = own(torch.from_numpy(wave)[None])
    assert len(layers) == len(states) == 3
    for layer, state in zip(layers, states, strict=True):
        if align == "features":
            torch.testing.assert_close(layer, (state[:, ::2] + state[:, 1::2]) / 2, atol=1e-5, rtol=1e-4)
        else:  # two low passes differ near the edge of the band
            assert layer.shape == state.shape == (1, 10, 64)
            assert torch.nn.functional.cosine_similarity(layer, state, dim=-1).min() > 0.98
