"""Sizes are configs, not code: every number that shapes the network, with the reason for each choice of ours.

A config is plain data: it lives in YAML for training and in the safetensors metadata of a checkpoint.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ..errors import SyncLipError

T = TypeVar("T")


@dataclass(frozen=True)
class VisualConfig:
    """The visual encoder (papers/synclipmae.txt, section 3.2)."""

    # height, width of the frames; a square face is stretched to them where they differ (media.crop.model_frames)
    image_size: tuple[int, int] = (112, 112)
    patch_size: int = 16
    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 4.0
    # "linear" is the ViT of the paper. "conv" is a convolutional stem whose activations are zeroed on hidden patches
    # at every stage, so that nothing leaks (ConvMAE); from a few hours of video a linear stem learns too slowly.
    stem: str = "linear"
    stem_widths: tuple[int, ...] = (32, 64, 128)
    stem_strides: tuple[int, ...] = (
        4,
        2,
        2,
    )  # the first stage costs most of the time on a CPU: it leaves full size at once
    # MAE hides 75 % (He et al. 2022, figure 5).
    mask_ratio: float = 0.75
    # The face-preserving bypass must leave the mouth whole; at 7 x 7 patches the mouth alone is a quarter of them.
    face_mask_ratio: float = 0.75
    # "both", or one view that everything is read from: "uniform" (ablation A1), "face" (A2)
    bypasses: str = "both"

    @property
    def crop_size(self) -> int:
        """Side in pixels of the square face crops that frames are made of: neither side of a frame is enlarged."""
        return max(self.image_size)


@dataclass(frozen=True)
class AudioConfig:
    """The audio branch: a frozen speech encoder and the adapter over all its layers (section 3.2)."""

    front_end: str = "mel"  # "mel" | "wav2vec2" | "hubert"
    layers: str = "all"  # "all" | "last" (ablation B1)
    # How 50 rows a second become 25: "features" averages two rows; "waveform" halves the sampling rate before the
    # encoder, so that one row spans a frame, as the paper has it. The mel front end has its rows where frames are.
    align: str = "features"
    width: int = 768  # of one layer; mel: the number of bands
    depth: int = 13  # number of layers that are concatenated; mel: sub-frames of 10 ms in a video frame
    # The mel front end learns nothing and sees 25 ms, so its adapter brings the temporal context that wav2vec2 has
    # inside.
    adapter_width: int = 0  # 0: one linear layer, as in the paper
    adapter_depth: int = 0
    adapter_kernel: int = 5
    # settings of transformers' Wav2Vec2Config or HubertConfig that differ from the base models (pretrained.py fills it)
    encoder: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VocalConfig:
    """What stands between the vocal prompt of a frame and the vocal-motion token.

    The paper's token is `center=False, context_depth=0`. With a few speakers the frame's own mouth shape tells who
    speaks more than what is said: subtracting the clip's mean prompt removes that, a short context resolves what one
    frame cannot.
    """

    center: bool = False
    context_depth: int = 0  # residual temporal convolutions
    context_kernel: int = 5
    context_width: int = 0


@dataclass(frozen=True)
class DecoderConfig:
    """The MAE decoder with prompt cross-attention (section 3.2)."""

    width: int = 96
    depth: int = 2
    heads: int = 4
    mlp_ratio: float = 4.0
    cross_attention: bool = True  # False: prompts are concatenated to the sequence (ablation C1)


@dataclass(frozen=True)
class SyncLipMAEConfig:
    """The whole model. `dim` is the width of the tokens that all tasks share."""

    name: str = "tiny"
    dim: int = 128
    fps: float = 25.0
    sample_rate: int = 16000
    visual: VisualConfig = field(default_factory=VisualConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    vocal: VocalConfig = field(default_factory=VocalConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    geometry_points: int = 0  # lip points that an auxiliary head reads off the vocal prompt while training; 0: no head

    @property
    def profile(self) -> str:
        """Name of the token space: tokens of two profiles do not compare."""
        return f"{self.name}-{self.dim}"


def tiny() -> SyncLipMAEConfig:
    """The bundled profile: a laptop CPU encodes faster than real time."""
    return SyncLipMAEConfig(
        name="tiny",
        dim=128,
        visual=VisualConfig(stem="conv", face_mask_ratio=0.6),
        audio=AudioConfig(front_end="mel", width=80, depth=4, adapter_width=256, adapter_depth=4),
        vocal=VocalConfig(center=True, context_depth=4, context_kernel=5, context_width=256),
        decoder=DecoderConfig(),
        geometry_points=60,
    )


def base() -> SyncLipMAEConfig:
    """ViT-B and wav2vec2-base: one 80 GB GPU."""
    return SyncLipMAEConfig(
        name="base",
        dim=768,
        visual=VisualConfig(image_size=(224, 224), width=768, depth=12, heads=12),
        audio=AudioConfig(front_end="wav2vec2"),
        decoder=DecoderConfig(width=512, depth=8, heads=16),
    )


def paper() -> SyncLipMAEConfig:
    """Section 5: Sapiens-0.3B encoder, ViTMAE-B decoder, wav2vec2-base; 1024 x 768 is Sapiens' own input."""
    return SyncLipMAEConfig(
        name="paper",
        dim=1024,
        visual=VisualConfig(image_size=(1024, 768), width=1024, depth=24, heads=16),
        audio=AudioConfig(front_end="wav2vec2"),
        decoder=DecoderConfig(width=512, depth=8, heads=16),
    )


PROFILES = {"tiny": tiny, "base": base, "paper": paper}


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass config as plain JSON-able data."""
    return asdict(config)


def from_dict(cls: type[T], data: Any, where: str = "config") -> T:
    """Build a config dataclass from plain data. Raises SyncLipError on an unknown key or a value of the wrong type."""
    if not isinstance(data, dict):
        raise SyncLipError(f"{where}: expected a mapping of settings, got {type(data).__name__}")
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise SyncLipError(f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return cls(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return from_dict(kind, value, where)  # type: ignore[arg-type]
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise SyncLipError(f"{where}: expected a list, got {value!r}")
        inner = get_args(kind)[0]
        return tuple(_convert(inner, item, where) for item in value)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise SyncLipError(f"{where}: expected a mapping, got {value!r}")
        return value
    if origin is not None:  # a union such as `str | None`
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        return _convert(next(o for o in options if o is not type(None)), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SyncLipError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
