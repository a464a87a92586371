"""Published weights as a start: wav2vec2, HuBERT, Whisper (transformers); pretrained_vit.py: of the visual encoder.

Only safetensors are read. Weights in a pickle (.pth, .bin) must be converted first, in an environment of their own:

    from safetensors.torch import save_file
    save_file(torch.load("in.pth", weights_only=True), "out.safetensors")
"""

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import SyncLipError
from ..files.safetensors_file import read_safetensors
from .audio.local_whisper import LocalWhisper
from .audio.speech import SpeechEncoder
from .audio.whisper import HEAD, POSITIONS, WhisperFrontEnd, sinusoids
from .config import AudioConfig


def speech_config(path: str | Path) -> AudioConfig:
    """The AudioConfig (linear adapter over all layers, as in the paper) that fits a published speech encoder.

    path: a folder with config.json and model.safetensors in transformers' format, or the .safetensors alone, whose
    sizes are then read off the weights. A Whisper (of any size, as published or banded) lays two rows side by side.
    Raises SyncLipError when it is none of wav2vec2, HuBERT and Whisper.
    """
    weights = _speech_weights(Path(path))
    described = weights.parent / "config.json"
    if Path(path).is_dir() and described.exists():
        try:
            settings = json.loads(described.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SyncLipError(f"{described}: not valid JSON ({error})") from error
        front_end = settings.get("model_type")
        if front_end == "whisper":
            return _whisper_config(whisper_tensors(read_tensors(weights)), weights)
        if front_end not in ("wav2vec2", "hubert"):
            raise SyncLipError(f"{described}: model_type is {front_end!r}; expected wav2vec2, hubert or whisper")
        kept = {key: settings[key] for key in SHAPING if key in settings}
        width, layers = kept.pop("hidden_size", 768), kept.pop("num_hidden_layers", 12)
        return AudioConfig(front_end=front_end, width=width, depth=layers + 1, encoder=kept)
    raw = read_tensors(weights)
    if (whisper := whisper_tensors(raw)).keys() & {"conv1.weight"}:
        return _whisper_config(whisper, weights)
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
        raise SyncLipError(
            f"{path}: no wav2vec2, HuBERT or Whisper in transformers' format ({error} is missing)"
        ) from error
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
    """Published weights into a front end built with the config of `speech_config`. path: as there.

    Heads (CTC, pretraining) and Whisper's decoder in the file are not used. Raises SyncLipError when something is
    missing or has another shape.
    """
    weights = _speech_weights(Path(path))
    if isinstance(front_end, LocalWhisper):
        return _load_banded(front_end, weights)
    if isinstance(front_end, WhisperFrontEnd):
        return _load_whisper(front_end, weights)
    if not isinstance(front_end, SpeechEncoder):
        raise SyncLipError(
            f"{path}: audio.front_end is mel, which has no weights; set it to wav2vec2, hubert or whisper"
        )
    state = _without_prefix(read_tensors(weights))
    wanted = front_end.network.state_dict()
    own = {key: value for key, value in state.items() if key in wanted}
    # "masked_spec_embed" only serves their own pretraining, and some files leave it out
    missing = sorted(set(wanted) - set(own) - {"masked_spec_embed"})
    if missing:
        raise SyncLipError(f"{path}: {missing[0]} is missing ({len(missing)} tensors in all)")
    copy_tensors(front_end.network, own, path)


def whisper_tensors(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the encoder without the prefix that a whole Whisper, or one with its head, puts before them."""
    return {
        re.sub(r"^(model\.)?encoder\.", "", k): v for k, v in raw.items() if not re.match(r"(model\.)?decoder\.", k)
    }


def _whisper_config(state: dict[str, Tensor], path: Path) -> AudioConfig:
    """Sizes of a Whisper, read off its weights; all that its config.json could add is the same in every size."""
    try:
        width, mels = state["conv1.weight"].shape[:2]
        layers = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        inner = len(state["layers.0.fc1.weight"])
    except (KeyError, ValueError) as error:
        raise SyncLipError(f"{path}: no Whisper encoder in transformers' format ({error} is missing)") from error
    if width % HEAD or inner != 4 * width:
        raise SyncLipError(f"{path}: a Whisper of width {width} and {inner} inner channels; none was published so")
    band = state["bias"].shape[-1] // 2 if "bias" in state else 0
    return AudioConfig("whisper", align="rows", width=width, depth=layers + 1, encoder={"band": band, "mels": mels})


def _load_banded(front_end: LocalWhisper, path: Path) -> None:
    try:
        front_end.load_state_dict({name: tensor.float() for name, tensor in read_tensors(path).items()})
    except RuntimeError as error:
        raise SyncLipError(f"{path}: no banded Whisper of these sizes (tools.localise_whisper): {error}") from error


def _load_whisper(front_end: WhisperFrontEnd, path: Path) -> None:
    state, wanted = whisper_tensors(read_tensors(path)), front_end.state_dict()
    missing = sorted(set(wanted) - set(state))
    if missing:
        raise SyncLipError(f"{path}: {missing[0]} is missing ({len(missing)} tensors in all)")
    surplus = sorted(k for k in state if k.startswith(("layers.", "conv")) and k not in wanted)
    if surplus:
        raise SyncLipError(f"{path}: {surplus[0]} has no place in {len(front_end.layers)} layers (audio.depth)")
    # the positions are computed, not stored; a file with others is another network
    positions = state.get("embed_positions.weight")
    own = sinusoids(POSITIONS, front_end.conv1.out_channels)
    if positions is not None and (positions.shape != own.shape or (positions.float() - own).abs().max() > 1e-2):
        raise SyncLipError(f"{path}: embed_positions.weight is not the sinusoids of 30 s that Whisper has")
    copy_tensors(front_end, {key: state[key] for key in wanted}, path)


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise SyncLipError(f"{path}: only .safetensors are read; synclip_core/models/pretrained.py says how to convert")
    return read_safetensors(path, expected="published weights")[0]


def copy_tensors(module: nn.Module, tensors: dict[str, Any], path: str | Path) -> None:
    state = module.state_dict()
    for name, value in tensors.items():
        if state[name].shape != value.shape:
            raise SyncLipError(f"{path}: {name} is {list(value.shape)}, the config makes it {list(state[name].shape)}")
    module.load_state_dict(tensors, strict=False)
