"""Sizes are configs, not code: every number that shapes the network, with the reason for each choice of ours.

A config is plain data: it lives in YAML for training and in the safetensors metadata of a checkpoint.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ..files.settings import Depth, Kernel, Positive, Size, SizeOrNone, Within

TICK = 640  # samples a video frame: 16 kHz, 25 fps
GROUPS = 8  # of the group norms of a convolutional stem
Hidden = Annotated[float, Within(0, 0.99)]  # a share of patches of which some must be left


def _width_fault(width: int, heads: int) -> str | None:
    """Of a Transformer whose position embedding has four parts (layers.sincos_position)."""
    if width % heads or width % 4:
        return f"width is {width}; expected a multiple of heads {heads} and of 4"
    return None


@dataclass(frozen=True)
class VisualConfig:
    """The visual encoder (SyncLipMAE, section 3.2)."""

    # height, width of the frames; a square face is stretched to them where they differ (media.crop.model_frames)
    image_size: tuple[Size, Size] = (112, 112)
    patch_size: Size = 16
    width: Size = 128
    depth: Depth = 4
    heads: Size = 4
    mlp_ratio: Positive = 4.0
    # "linear" is the ViT of the paper. "conv" is a convolutional stem whose activations are zeroed on hidden patches
    # at every stage, so that nothing leaks (ConvMAE); from a few hours of video a linear stem learns too slowly.
    stem: Literal["linear", "conv"] = "linear"
    stem_widths: tuple[Size, ...] = (32, 64, 128)
    stem_strides: tuple[Size, ...] = (
        4,
        2,
        2,
    )  # the first stage costs most of the time on a CPU: it leaves full size at once
    # MAE hides 75 % (He et al. 2022, figure 5).
    mask_ratio: Hidden = 0.75
    # The text lost how many patches bypass 2 hides. Of 7 x 7, 14 x 14, 64 x 48 patches a median frame of the training
    # clips has 67, 60, 53 % that show some of the face: with 37 % hidden all but its rim can be seen, which inference
    # needs (blinks, brows), and the background hardly ever is.
    face_mask_ratio: Hidden = 0.37
    # What bypass 2 prefers: "face", the regions of each frame's own landmarks (masking.py); "mouth", one fixed map in
    # which the mouth uses up the budget. The second is for checkpoints of before it was mended; do not train with it.
    view: Literal["face", "mouth"] = "face"
    # "both", or one view that everything is read from: "uniform" (ablation A1), "face" (A2)
    bypasses: Literal["both", "uniform", "face"] = "both"

    @property
    def crop_size(self) -> int:
        """Side in pixels of the square face crops that frames are made of: neither side of a frame is enlarged."""
        return max(self.image_size)

    def fault(self) -> str | None:
        if any(side % self.patch_size for side in self.image_size):
            return f"image_size is {list(self.image_size)}; expected multiples of patch_size {self.patch_size}"
        if self.stem == "conv":
            if len(self.stem_widths) != len(self.stem_strides) or math.prod(self.stem_strides) != self.patch_size:
                return (
                    f"stem_strides is {list(self.stem_strides)}; expected one for each of {len(self.stem_widths)} "
                    f"stem_widths, their product patch_size {self.patch_size}"
                )
            if any(width % GROUPS for width in self.stem_widths):
                return f"stem_widths is {list(self.stem_widths)}; expected multiples of {GROUPS}"
        return _width_fault(self.width, self.heads)


@dataclass(frozen=True)
class AudioConfig:
    """The audio branch: a frozen speech encoder and the adapter over all its layers (section 3.2)."""

    front_end: Literal["mel", "wav2vec2", "hubert", "whisper"] = "mel"
    layers: Literal["all", "last"] = "all"  # "last": ablation B1
    # How 50 rows a second become 25: "features" averages two rows; "waveform" halves the sampling rate before the
    # encoder, so that one row spans a frame, as the paper has it; "rows" lays two rows side by side. The mel front end
    # has its rows where frames are.
    align: Literal["features", "waveform", "rows"] = "features"
    width: Size = 768  # of one layer; mel: the number of bands
    depth: Size = 13  # number of layers that are concatenated; mel: sub-frames of 10 ms in a video frame
    # Each layer brought to mean 0 and deviation 1 before they are concatenated: the residual streams of a pre-norm
    # encoder differ by orders of magnitude, and one linear layer has one learning rate.
    norm_layers: bool = False
    # The mel front end learns nothing and sees 25 ms, so its adapter brings the temporal context that wav2vec2 has
    # inside.
    adapter_width: SizeOrNone = 0  # 0: one linear layer, as in the paper
    adapter_depth: Depth = 0
    adapter_kernel: Kernel = 5
    # settings of transformers' Wav2Vec2Config or HubertConfig that differ from the base models (pretrained.py fills it)
    encoder: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """Width of the concatenated layers of one video frame."""
        rows = 2 if self.align == "rows" and self.front_end != "mel" else 1
        return self.width * rows * (self.depth if self.layers == "all" else 1)

    def fault(self) -> str | None:
        if self.align == "rows" and self.front_end in ("wav2vec2", "hubert"):
            return f"align is rows; {self.front_end} knows features and waveform"
        return None


@dataclass(frozen=True)
class VocalConfig:
    """What stands between the vocal prompt of a frame and the vocal-motion token.

    The paper's token is `center=False, context_depth=0`. With a few speakers the frame's own mouth shape tells who
    speaks more than what is said: subtracting the clip's mean prompt removes that, a short context resolves what one
    frame cannot.
    """

    center: bool = False
    context_depth: Depth = 0  # residual temporal convolutions
    context_kernel: Kernel = 5
    context_width: SizeOrNone = 0


@dataclass(frozen=True)
class ContextConfig:
    """The temporal branch: tokens that see their neighbours, beside the paper's tokens that see one frame.

    Ours, not the paper's: one frame cannot tell a closing mouth from an opening one. Both kinds live in one checkpoint
    and never mix: tokens of two kinds do not compare. depth 0: there is no such branch.
    """

    depth: Depth = 0  # residual temporal convolutions in each stream
    kernel: Kernel = 5
    width: Size = 256

    @property
    def reach(self) -> int:
        """Ticks that a token sees on each side."""
        return self.depth * (self.kernel // 2)


@dataclass(frozen=True)
class DecoderConfig:
    """The MAE decoder with prompt cross-attention (section 3.2)."""

    width: Size = 96
    depth: Depth = 2
    heads: Size = 4
    mlp_ratio: Positive = 4.0
    cross_attention: bool = True  # False: prompts are concatenated to the sequence (ablation C1)

    def fault(self) -> str | None:
        return _width_fault(self.width, self.heads)


@dataclass(frozen=True)
class SyncLipMAEConfig:
    """The whole model. `dim` is the width of the tokens that all tasks share."""

    name: str = "tiny"
    dim: Size = 128
    fps: Positive = 25.0
    sample_rate: Annotated[int, Within(8000, 192000)] = 16000
    visual: VisualConfig = field(default_factory=VisualConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    vocal: VocalConfig = field(default_factory=VocalConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    # lip points that an auxiliary head reads off the vocal prompt while training; 0: no head
    geometry_points: Literal[0, 60] = 0

    @property
    def profile(self) -> str:
        """Name of the token space: tokens of two profiles do not compare."""
        return f"{self.name}-{self.dim}"

    def reach(self, context: bool = True) -> tuple[int, int]:
        """Ticks on each side of its own that a vocal token and an audio token see, the speech encoder not counted.

        context: of the temporal branch, where the model has one.
        """
        vocal = self.vocal.context_depth * (self.vocal.context_kernel // 2)
        audio = self.audio.adapter_depth * (self.audio.adapter_kernel // 2)
        return (self.context.reach, self.context.reach) if context and self.context.depth else (vocal, audio)


def tiny() -> SyncLipMAEConfig:
    """The bundled profile: a laptop CPU encodes faster than real time."""
    return SyncLipMAEConfig(
        name="tiny",
        dim=128,
        visual=VisualConfig(stem="conv"),
        audio=AudioConfig(front_end="whisper", align="rows", width=384, depth=5, norm_layers=True),
        context=ContextConfig(depth=4),
        decoder=DecoderConfig(width=128, depth=3),
        geometry_points=60,
    )


def base() -> SyncLipMAEConfig:
    """ViT-B and wav2vec2-base: one 80 GB GPU."""
    return SyncLipMAEConfig(
        name="base",
        dim=768,
        visual=VisualConfig(image_size=(224, 224), width=768, depth=12, heads=12),
        audio=AudioConfig(front_end="wav2vec2", align="waveform"),
        decoder=DecoderConfig(width=512, depth=8, heads=16),
    )


def paper() -> SyncLipMAEConfig:
    """Section 5: Sapiens-0.3B encoder, ViTMAE-B decoder, wav2vec2-base; Sapiens' task models take 1024 x 768."""
    return SyncLipMAEConfig(
        name="paper",
        dim=1024,
        visual=VisualConfig(image_size=(1024, 768), width=1024, depth=24, heads=16),
        audio=AudioConfig(front_end="wav2vec2", align="waveform"),
        decoder=DecoderConfig(width=512, depth=8, heads=16),
    )


PROFILES = {"tiny": tiny, "base": base, "paper": paper}
