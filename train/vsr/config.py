"""Settings of `train.finetune_vsr`, one YAML a run."""

from dataclasses import dataclass, field
from pathlib import Path

from synclip_core.decoding.beam import SearchOptions
from synclip_core.errors import SyncLipError
from train.config import AugmentConfig, read_config
from train.vsr.corpus import LAYOUTS


@dataclass(frozen=True)
class VsrDataConfig:
    shards: str = "runs/data"  # of `python -m train.prepare`
    texts: str = ""  # what `layout` names: a CSV, or the folder of a corpus
    layout: str = "csv"
    views: int = 4  # versions of each clip's pictures: the first plain, the others augmented
    clips: int = 16  # in a batch
    speed: float = 0.1  # deviation of the log playing speed
    time_masks: int = 2
    time_mask_s: float = 0.4
    stitch: float = 0.3  # share of examples that are cut from two utterances in a row; needs word times
    longest_s: float = 4.0  # of those
    pieces: int = 0  # SentencePiece unigram pieces to write in; 0: characters
    cache_gb: float = 8.0  # decoded clips kept in memory where the visual encoder learns
    curriculum_steps: int = 300  # until the longest utterances take part


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes of synclip_core.models.vsr.VsrConfig; units: characters found in the texts."""

    width: int = 128
    heads: int = 4
    layers: int = 3
    kernel: int = 15
    decoder_layers: int = 2
    upsample: int = 2
    dropout: float = 0.1


@dataclass(frozen=True)
class AlignConfig:
    """AV-SyncNet (papers/synctalklip.txt, equations 5 and 6): reading and alignment at once, the vocal head learns.

    loss: none | l1 | conv (a learned convolution before the distance). audio: tuned | frozen, the adapter.
    """

    loss: str = "none"
    weight: float = 1.0  # lambda_av; that of reading is 1
    tau: float = 1.0
    audio: str = "tuned"


@dataclass(frozen=True)
class VsrTrainConfig:
    seed: int = 0
    data: VsrDataConfig = field(default_factory=VsrDataConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # of the pictures, where the visual encoder learns
    search: SearchOptions = field(default_factory=SearchOptions)
    init: str = ""  # a reader to start from, of the same sizes and characters; its checkpoint is the one that goes on
    # What learns beside the reader: none | head (the vocal head) | encoder (and the visual encoder, from pictures; one
    # wants a GPU). The model that they belong to is written beside the reader.
    unfreeze: str = "none"
    encoder_lr: float = 0.1  # of the visual encoder's and the vocal head's rate, as a share of lr
    steps: int = 3000
    lr: float = 1e-3
    warmup: int = 150
    weight_decay: float = 0.05
    clip: float = 1.0
    ctc_weight: float = 0.3
    smoothing: float = 0.1
    average: float = 0.995  # exponential average of the weights, which is what is judged and written
    validate_every: int = 200
    checkpoint_every: int = 100
    reads: str = ""  # for people: the language or the commands


def load_vsr_config(path: str | Path) -> VsrTrainConfig:
    """Read and check a YAML. Raises SyncLipError naming the setting that is wrong."""
    config = read_config(VsrTrainConfig, path)
    for name, value, known in (
        ("data.layout", config.data.layout, LAYOUTS),
        ("unfreeze", config.unfreeze, ("none", "head", "encoder")),
        ("align.loss", config.align.loss, ("none", "l1", "conv")),
        ("align.audio", config.align.audio, ("tuned", "frozen")),
    ):
        if value not in known:
            raise SyncLipError(f"{path}: {name} is {value!r}; expected one of {', '.join(known)}")
    if config.align.loss != "none" and config.unfreeze == "none":
        raise SyncLipError(
            f"{path}: align needs unfreeze: head or encoder; with the vocal head at rest there is nothing to align"
        )
    return config
