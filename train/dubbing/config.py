"""One YAML a run of train.finetune_dubbing."""

from dataclasses import dataclass, field
from typing import Literal

from synclip_core.dubbing.audiopack import InjectAt
from synclip_core.files.settings import Amount, Count, Depth, Kernel, Number, Positive, Share, Size
from train.data.texts import Layout
from train.pretrain.config import OptimConfig


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a Wan VACE transformer that begins at random; heads are 128 wide, as Wan's are."""

    heads: Size = 2
    layers: Size = 4
    vace_layers: Size = 2  # evenly spaced, the first beside the first block
    ffn: Size = 768
    text_dim: Size = 4096

    def fault(self) -> str | None:
        if self.layers % self.vace_layers:
            return f"vace_layers is {self.vace_layers}; expected a divisor of layers {self.layers}"
        return None


@dataclass(frozen=True)
class PackConfig:
    """Of the AudioPack; see AudioPackConfig."""

    hidden: Size = 256
    depth: Depth = 3
    kernel: Kernel = 5
    inject_at: InjectAt = "vace"


@dataclass(frozen=True)
class DubDataConfig:
    shards: str = "runs/data"  # written by train.prepare
    source_power: Share = 0.5  # clips of a source are drawn in proportion to its hours to this power
    min_offset_confidence: Amount = 0.05  # a web clip whose own offset is less clear is driven by its vocal tokens only
    size: Size = 96  # of a face crop, pixels; a multiple of 16
    frames: Count = 17  # target frames of a sample, as in the paper; 4 n + 1
    stride: Count = 1  # frames between the places where samples may begin; over 1 a cache of latents is hit sooner
    latents_gb: Amount = 0.0  # latents kept in OUT/latents, for a video VAE that costs more than reading a file
    flip: Share = 0.5  # share of samples that are mirrored
    cache_gb: Amount = 4.0  # decoded clips kept in memory

    def fault(self) -> str | None:
        if self.size % 16:
            return f"size is {self.size}; expected a multiple of 16"
        if self.frames % 4 != 1:
            return f"frames is {self.frames}; a video VAE takes 4 n + 1, for example 17"
        return None


@dataclass(frozen=True)
class DubLossConfig:
    """Weights of losses on the decoded picture beside the flow-matching loss, 0: off. None is in the paper; each costs
    a way through the video VAE and, but for the first, through SyncLipMAE."""

    reconstruction: Amount = 0.0  # L1 of pixels in the hole
    sync: Amount = 0.0  # 1 - cosine of the dub's vocal tokens and of those that drive it
    contrastive: Amount = 0.0  # SyncTalklip, equations 11 and 12
    margin: Amount = 0.0  # UniSync, equation 1
    lip_reading: Amount = 0.0  # SyncTalklip, equation 4, on clips whose words are known
    below: Share = 0.6  # noise level of the samples that they look at
    temperature: Positive = 1.0  # of the contrastive loss
    same_margin: Amount = 0.3  # UniSync's best, of negatives of the same clip
    cross_margin: Amount = 0.7  # and of another's
    reader: str = ""  # of the lip-reading loss; empty: the bundled one
    texts: str = ""  # what the clips say: a folder or CSV of `layout`, as in the configs of train.finetune_vsr
    layout: Layout = "aligned"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the losses that are on."""
        known = ("reconstruction", "sync", "contrastive", "margin", "lip_reading")
        return tuple(name for name in known if getattr(self, name))


@dataclass(frozen=True)
class DubbingConfig:
    """transformer_path: Wan2.1-VACE weights in ComfyUI's (one file) or diffusers' (a folder) layout, empty for
    `transformer` at random; vae: a file of train.fit_linear_vae, or a Wan VAE in diffusers' layout (a folder)."""

    seed: Number = 0
    checkpoint: str = ""  # the SyncLipMAE whose tokens drive; empty: the bundled one
    vae: str = "runs/dubbing/vae.safetensors"
    transformer_path: str = ""
    pack_path: str = ""  # an AudioPack to go on from; empty: `pack`, which changes nothing at first
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    data: DubDataConfig = field(default_factory=DubDataConfig)
    prompt: str = ""  # a file of train.encode_prompt, used for every sample; empty: no text
    # "vace" rests Wan's own blocks, as the paper does; "lora": adapters on the VACE blocks
    trained: Literal["all", "vace", "lora"] = "all"
    lora_rank: Count = 32
    audio_share: Share = 0.5  # of samples driven by audio tokens, the others by vocal tokens
    drop_history: Share = 0.1  # of steps without the continuity reference (section 4.4)
    # Not in the paper: of samples without any token, so that audio guidance has something to push away from.
    drop_tokens: Share = 0.1
    shift: Positive = 1.0  # of the noise levels; Wan uses 3 to 5 for larger pictures
    outside: Amount = 0.2  # weight of the loss where the picture is given, against 1 in the hole
    mouth: Amount = 1.0  # weight around the lips; over 1 where a short run must learn the small part that tokens decide
    # Not in the paper: noise on the continuity reference, up to this deviation. In use it is the model's own work, and
    # what is wrong in it would grow from segment to segment.
    history_noise: Amount = 0.1
    losses: DubLossConfig = field(default_factory=DubLossConfig)
    steps: Count = 4000
    lr: Positive = 6e-4
    pack_lr: Positive = 1.0  # of it for the AudioPack, whose projection begins at zero
    warmup: Number = 200
    clips: Count = 8  # of a step, on each process
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(weight_decay=0.01, ema=0.999))
    validate_every: Count = 250
    checkpoint_every: Count = 50
