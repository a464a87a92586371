"""Settings of `train.finetune_vsr`, one YAML a run."""

from dataclasses import dataclass, field
from typing import Literal

from synclip_core.files.settings import Amount, Count, Number, Positive, Share
from synclip_core.reading.beam import SearchOptions
from synclip_core.reading.network import ReaderConfig
from train.data.texts import Layout
from train.pretrain.config import AugmentConfig


@dataclass(frozen=True)
class VsrDataConfig:
    shards: str = "runs/data"  # of `python -m train.prepare`
    texts: str = ""  # what `layout` names: a CSV, or the folder of a corpus
    layout: Layout = "csv"
    also: tuple[str, ...] = ()  # more of the same layout
    views: Count = 4  # versions of each clip's pictures: the first plain, the others augmented
    clips: Count = 16  # in a batch
    speed: Share = 0.1  # deviation of the log playing speed
    time_masks: Number = 2
    time_mask_s: Amount = 0.4
    stitch: Share = 0.3  # share of examples that are cut from two utterances in a row; needs word times
    longest_s: Positive = 4.0  # of those
    # Share of examples that are heard instead of seen: the audio tokens of the clip, of the same space as its vocal
    # ones. What a word sounds like is less a matter of whose mouth says it.
    heard: Share = 0.0
    # Deviation of what is added to all tokens of an example, the same to each, as a share of a token's own deviation:
    # another face's tokens lie elsewhere.
    person: Amount = 0.0
    pieces: Number = 0  # SentencePiece unigram pieces to write in; 0: characters
    cache_gb: Amount = 8.0  # decoded clips kept in memory where the visual encoder learns
    curriculum_steps: Number = 300  # until the longest utterances take part


@dataclass(frozen=True)
class AlignConfig:
    """AV-SyncNet (SyncTalklip, equations 5 and 6): reading and alignment at once, the vocal head learns.

    loss: "conv" is a learned convolution before the distance. audio: the adapter.
    """

    loss: Literal["none", "l1", "conv"] = "none"
    weight: Amount = 1.0  # lambda_av; that of reading is 1
    tau: Positive = 1.0
    audio: Literal["tuned", "frozen"] = "tuned"


@dataclass(frozen=True)
class VsrTrainConfig:
    seed: Number = 0
    data: VsrDataConfig = field(default_factory=VsrDataConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # of the pictures, where the visual encoder learns
    search: SearchOptions = field(default_factory=SearchOptions)
    init: str = ""  # a reader to start from, of the same sizes and characters; its checkpoint is the one that goes on
    # What learns beside the reader: the vocal head, or ("encoder") the visual encoder as well, from pictures; one wants
    # a GPU for that. The model that they belong to is written beside the reader.
    unfreeze: Literal["none", "head", "encoder"] = "none"
    encoder_lr: Positive = 0.1  # of the visual encoder's and the vocal head's rate, as a share of lr
    steps: Count = 3000
    lr: Positive = 1e-3
    warmup: Number = 150
    weight_decay: Amount = 0.05
    clip: Positive = 1.0
    ctc_weight: Share = 0.3
    smoothing: Share = 0.1
    average: Share = 0.995  # exponential average of the weights, which is what is judged and written
    validate_every: Count = 200
    checkpoint_every: Count = 100
    reads: str = ""  # for people: the language or the commands

    def fault(self) -> str | None:
        if self.align.loss != "none" and self.unfreeze == "none":
            return "align needs unfreeze: head or encoder; with the vocal head at rest there is nothing to align"
        if self.data.heard and self.unfreeze == "encoder":
            return "data.heard is for a visual encoder at rest, whose model's audio tokens stay what they are"
        return None
