"""One YAML a run: every setting of pretraining, checked by name and type before anything starts."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from synclip_core.errors import SyncLipError
from synclip_core.models.config import SyncLipMAEConfig, from_dict, tiny


@dataclass(frozen=True)
class DataConfig:
    shards: str = "runs/data"  # folder written by `python -m train.prepare`
    clips: int = 9  # clips in a batch: one subject each
    frames: int = 48  # consecutive frames of a clip
    reconstruct: int = (
        4  # frames of each clip that bypass 1 and the decoder see; the losses are means, so this only saves time
    )
    speed: float = 0.08  # deviation of the log playing speed: other tempos and, as pitch follows, other voices
    source_power: float = 0.5  # clips of a source are drawn in proportion to its hours to this power
    min_offset_confidence: float = (
        0.05  # a web clip whose own offset is less clear than this is left out of the contrast
    )
    holdout: int = 0  # 1 in `holdout` web identities is kept out of training, to choose between runs; 0: none
    cache_gb: float = 8.0  # decoded clips kept in memory


@dataclass(frozen=True)
class AugmentConfig:
    geometric: float = 1.0  # strength of shift, scale, rotation and aspect, one draw a clip; 0: off
    photometric: float = 1.0  # colour, brightness, saturation, blur, noise of bypass 2 (ablation A3: 0)
    mel: float = 1.0  # frequency warp (vocal tract length) and added noise


@dataclass(frozen=True)
class LossConfig:
    # pixels are 0..1, so an MSE of 0.02 is typical: 10 brings it to the order of the other terms
    reconstruction: float = 10.0
    contrastive: float = 1.0
    decorrelation: float = 0.1
    geometry: float = 1.0
    neighbours: int = 0  # frames beside the aligned one that count as positives
    ignore_neighbours: int = 1  # and those that are neither: 40 ms away looks much the same
    self_similarity: float = 0.98  # audio this alike (silence, a held vowel) is a positive as well; over 1: off
    max_scale: float = 60.0  # CLIP clamps the learned inverse temperature at 100; a small batch overfits there
    same_clip: float = (
        0.5  # share of a second contrast among the frames of the same clip only, where identity cannot help
    )
    shuffle_identity: float = 0.5  # probability of the identity shuffle


@dataclass(frozen=True)
class OptimConfig:
    steps: int = 2000
    lr: float = 1e-3
    warmup: int = 100
    final_lr: float = 0.02  # of lr, at the end of the cosine
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.995
    bf16: bool = False


@dataclass(frozen=True)
class PretrainConfig:
    seed: int = 0
    model: SyncLipMAEConfig = field(default_factory=tiny)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    validate_every: int = 200
    checkpoint_every: int = 100


def load_config(path: str | Path) -> PretrainConfig:
    """Read and check a YAML. Raises SyncLipError naming the unknown key or the value of the wrong type."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SyncLipError(f"{path}: cannot read the config ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise SyncLipError(f"{path}: not valid YAML: {error}") from error
    return from_dict(PretrainConfig, data or {}, str(path))
