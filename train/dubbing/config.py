"""One YAML a run of train.finetune_dubbing."""

from dataclasses import dataclass, field
from pathlib import Path

from synclip_core.errors import SyncLipError
from synclip_core.models.audiopack import INJECT_AT
from train.config import OptimConfig, read_config

TRAINED = ("all", "vace", "lora")


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a Wan VACE transformer that begins at random; heads are 128 wide, as Wan's are."""

    heads: int = 2
    layers: int = 4
    vace_layers: int = 2  # evenly spaced, the first beside the first block
    ffn: int = 768
    text_dim: int = 4096


@dataclass(frozen=True)
class PackConfig:
    """Of the AudioPack; see AudioPackConfig."""

    hidden: int = 256
    depth: int = 3
    kernel: int = 5
    inject_at: str = "vace"


@dataclass(frozen=True)
class DubDataConfig:
    shards: str = "runs/data"  # written by train.prepare
    source_power: float = 0.5  # clips of a source are drawn in proportion to its hours to this power
    min_offset_confidence: float = 0.05  # a web clip whose own offset is less clear is driven by its vocal tokens only
    size: int = 96  # of a face crop, pixels; a multiple of 16
    frames: int = 17  # target frames of a sample, as in the paper; 4 n + 1
    stride: int = 1  # frames between the places where samples may begin; over 1 a cache of latents is hit sooner
    latents_gb: float = 0.0  # latents kept in OUT/latents, for a video VAE that costs more than reading a file
    flip: float = 0.5  # share of samples that are mirrored
    cache_gb: float = 4.0  # decoded clips kept in memory


@dataclass(frozen=True)
class DubLossConfig:
    """Weights of losses on the decoded picture beside the flow-matching loss, 0: off. None is in the paper; each costs
    a way through the video VAE and, but for the first, through SyncLipMAE."""

    reconstruction: float = 0.0  # L1 of pixels in the hole
    sync: float = 0.0  # 1 - cosine of the dub's vocal tokens and of those that drive it
    contrastive: float = 0.0  # SyncTalklip, equations 11 and 12
    margin: float = 0.0  # UniSync, equation 1
    lip_reading: float = 0.0  # SyncTalklip, equation 4, on clips whose words are known
    below: float = 0.6  # noise level of the samples that they look at
    temperature: float = 1.0  # of the contrastive loss
    same_margin: float = 0.3  # UniSync's best, of negatives of the same clip
    cross_margin: float = 0.7  # and of another's
    reader: str = ""  # of the lip-reading loss; empty: the bundled one
    texts: str = ""  # what the clips say: a folder or CSV of `layout`, as in the configs of train.finetune_vsr
    layout: str = "aligned"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the losses that are on."""
        known = ("reconstruction", "sync", "contrastive", "margin", "lip_reading")
        return tuple(name for name in known if getattr(self, name))


@dataclass(frozen=True)
class DubbingConfig:
    """transformer_path: Wan2.1-VACE weights in ComfyUI's (one file) or diffusers' (a folder) layout, empty for
    `transformer` at random; vae: a file of train.fit_linear_vae, or a Wan VAE in diffusers' layout (a folder)."""

    seed: int = 0
    checkpoint: str = ""  # the SyncLipMAE whose tokens drive; empty: the bundled one
    vae: str = "runs/dubbing/vae.safetensors"
    transformer_path: str = ""
    pack_path: str = ""  # an AudioPack to go on from; empty: `pack`, which changes nothing at first
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    data: DubDataConfig = field(default_factory=DubDataConfig)
    prompt: str = ""  # a file of train.encode_prompt, used for every sample; empty: no text
    trained: str = "all"  # "vace" rests Wan's own blocks, as the paper does; "lora": adapters on the VACE blocks
    lora_rank: int = 32
    audio_share: float = 0.5  # of samples driven by audio tokens, the others by vocal tokens
    drop_history: float = 0.1  # of steps without the continuity reference (section 4.4)
    # Not in the paper: of samples without any token, so that audio guidance has something to push away from.
    drop_tokens: float = 0.1
    shift: float = 1.0  # of the noise levels; Wan uses 3 to 5 for larger pictures
    outside: float = 0.2  # weight of the loss where the picture is given, against 1 in the hole
    mouth: float = 1.0  # weight around the lips; over 1 where a short run must learn the small part that tokens decide
    # Not in the paper: noise on the continuity reference, up to this deviation. In use it is the model's own work, and
    # what is wrong in it would grow from segment to segment.
    history_noise: float = 0.1
    losses: DubLossConfig = field(default_factory=DubLossConfig)
    steps: int = 4000
    lr: float = 6e-4
    pack_lr: float = 1.0  # of it for the AudioPack, whose projection begins at zero
    warmup: int = 200
    clips: int = 8  # of a step, on each process
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(weight_decay=0.01, ema=0.999))
    validate_every: int = 250
    checkpoint_every: int = 50


def load_dubbing_config(path: str | Path) -> DubbingConfig:
    """Read and check a YAML. Raises SyncLipError naming the setting that is wrong."""
    config = read_config(DubbingConfig, path)
    for name, value, known in (
        ("trained", config.trained, TRAINED),
        ("pack.inject_at", config.pack.inject_at, INJECT_AT),
    ):
        if value not in known:
            raise SyncLipError(f"{path}: {name} is {value!r}; expected one of {', '.join(known)}")
    if config.data.frames % 4 != 1:
        raise SyncLipError(f"{path}: data.frames is {config.data.frames}; a video VAE takes 4 n + 1, for example 17")
    for name, value in (("lora_rank", config.lora_rank), ("data.stride", config.data.stride)):
        if value < 1:
            raise SyncLipError(f"{path}: {name} is {value}; expected 1 or more")
    if config.data.size % 16:
        raise SyncLipError(f"{path}: data.size is {config.data.size}; expected a multiple of 16")
    if config.transformer.layers % config.transformer.vace_layers:
        raise SyncLipError(f"{path}: transformer.vace_layers must divide transformer.layers")
    return config
