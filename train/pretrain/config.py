"""One YAML a run: every setting of pretraining, checked by name, type and range before anything starts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml

from synclip_core.checkpoint import BUNDLED, read_config_of
from synclip_core.errors import SyncLipError
from synclip_core.files.settings import Amount, Count, Number, Positive, Share, Within, from_dict
from synclip_core.models.config import SyncLipMAEConfig, tiny

# What a stage learns -> the names of the parameters that it moves
LEARNED_BY: dict[str, tuple[str, ...]] = {
    "all": ("",),
    "vision": ("visual.", "geometry_head."),
    "alignment": (
        "vocal_head.",
        "front_end.",
        "adapter.",
        "logit_scale",
        "vocal_context.",
        "audio_context.",
        "context_scale",
    ),
}


@dataclass(frozen=True)
class DataConfig:
    shards: str = "runs/data"  # folder written by `python -m train.prepare`
    speed: Share = 0.08  # deviation of the log playing speed: other tempos and, as pitch follows, other voices
    source_power: Share = 0.5  # clips of a source are drawn in proportion to its hours to this power
    # a web clip whose own offset is less clear than this is left out of the contrast
    min_offset_confidence: Amount = 0.05
    holdout: Number = 0  # 1 in `holdout` web identities is kept out of training, to choose between runs; 0: none
    clips_per_subject: Count = 1  # clips of one person side by side in a batch; the identity shuffle mixes their frames
    cache_gb: Amount = 8.0  # decoded clips kept in memory, by each process
    # All clips decoded into the device's memory and batches made there: for a GPU that would wait for its readers. Two
    # hours of faces of 112 pixels are 9 GB. One process only.
    resident: bool = False
    # with `resident`: versions of each clip's sound that a frozen speech encoder hears once, before training (kept in
    # the run's folder): the first clean, the others degraded (augment.sound). 0: it hears each batch
    heard: Number = 0
    # with `resident`: the share of the stage after which unchecked videos' own offsets are estimated anew; 0: never
    refresh_offsets_at: Share = 0.0


@dataclass(frozen=True)
class AugmentConfig:
    geometric: Amount = 1.0  # strength of shift, scale, rotation and aspect, one draw a clip; 0: off
    photometric: Amount = 1.0  # colour, brightness, saturation, noise of bypass 2 (ablation A3: 0)
    degrade: Amount = 1.0  # of bypass 2: resolution, compression, blur, low frame rates, things before the face
    mel: Amount = 1.0  # of the mel front end: frequency warp (vocal tract length) and added noise
    sound: Amount = 1.0  # of the waveform: level, noise, music, other voices, rooms, telephone bands, drop-outs


@dataclass(frozen=True)
class LossConfig:
    # pixels are 0..1, so an MSE of 0.02 is typical: 10 brings it to the order of the other terms
    reconstruction: Amount = 10.0
    contrastive: Amount = 1.0
    # squared Frobenius norm of the cross-covariance of standardised tokens: D for two copies of one factor
    decorrelation: Amount = 0.004
    # steps over which its weight rises from 0: tokens of a random network are all alike, and the quickest way down is
    # an identity token that never varies, from which nothing leads back
    decorrelation_warmup: Number = 1000
    # how much of the running mean of the cross-covariance each step keeps (objectives/decorrelation.py); 0: this step
    decorrelation_memory: Annotated[float, Within(0, 0.999)] = 0.99
    geometry: Amount = 1.0
    # ours, not the paper's (0 there): identity tokens of one person alike (objectives/identity.py)
    identity_contrast: Amount = 0.0
    # ours (0 in the paper): identity tokens that stay within a clip, vocal tokens whose mean is that of every clip
    # (objectives/steadiness.py)
    steadiness: Amount = 0.0
    # ours: a hidden patch of mouth, eye or brow counts up to this much more than one of background in the pixel loss;
    # a blink is a few pixels of a frame in fifty
    face_weight: Amount = 0.0
    neighbours: Number = 0  # frames beside the aligned one that count as positives
    ignore_neighbours: Number = 1  # and those that are neither: 40 ms away looks much the same
    self_similarity: Amount = 0.98  # audio this alike (silence, a held vowel) is a positive as well; over 1: off
    max_scale: Positive = 60.0  # CLIP clamps the learned inverse temperature at 100; a small batch overfits there
    # share of a second contrast among the frames of the same clip only, where identity cannot help
    same_clip: Share = 0.5
    gather: bool = True  # negatives from all processes; False: each contrasts its own clips
    shuffle_identity: Share = 0.5  # share of the subjects whose identity tokens are shuffled
    passes: tuple[Literal["video", "audio"], ...] = ("video", "audio")  # what conditions the decoder; one: single-pass

    def fault(self) -> str | None:
        if not self.passes or len(set(self.passes)) < len(self.passes):
            return f"passes is {list(self.passes)}; expected video, audio or both"
        return None


@dataclass(frozen=True)
class StageConfig:
    """A stretch of training with an optimiser of its own; it starts from the averaged weights of the stage before.

    learn: "all" is the paper's objective. The other two are for those who have little data and no GPU, and train parts
    of it at a fraction of the cost: "vision" teaches the visual encoder the lips' geometry from single frames of many
    faces; "alignment" teaches the audio adapter and the vocal head with the visual encoder at rest, so that its prompts
    are computed once, in `views` augmented versions.
    """

    learn: Literal["all", "vision", "alignment"] = "all"
    steps: Count = 2000
    lr: Positive = 1e-3
    warmup: Number = 100
    clips: Count = 9  # clips of a step on each process
    frames: Count = 48  # consecutive frames of a clip
    # frames of each clip that bypass 1 and the decoder see; losses are means: this only saves time
    reconstruct: Count = 4
    views: Count = 2


@dataclass(frozen=True)
class OptimConfig:
    final_lr: Share = 0.02  # of a stage's lr, at the end of its cosine
    weight_decay: Amount = 0.05
    clip: Positive = 1.0
    ema: Annotated[float, Within(0, 0.999999)] = 0.995
    bf16: bool = False  # autocast; the weights stay float32
    accumulate: Count = 1  # parts that a process's clips of a step go through in; each part has its own negatives
    # compute the visual encoder's blocks again in the backward pass instead of keeping them
    checkpointing: bool = False
    compile: bool = False  # torch.compile on the visual encoder


@dataclass(frozen=True)
class InitConfig:
    """Weights to start from; empty: random. `visual` and `audio` are published ones (models/pretrained.py)."""

    # a whole SyncLipMAE checkpoint, to be trained further on other data; "bundled" is the package's. It decides `model`
    # but for what the YAML's own `model:` says otherwise.
    model: str = ""
    # a ViT of the visual encoder's sizes: Sapiens, MAE, timm, transformers. Or a checkpoint of ours: its visual encoder
    # and what else works on prompts and has the same sizes
    visual: str = ""
    # which pictures it expects (models/pretrained_vit.py); "auto": as the file or its folder says
    visual_norm: Literal["auto", "imagenet", "half"] = "auto"
    # wav2vec2 or HuBERT in transformers' format, which decides model.audio but for its adapter; or a banded Whisper
    audio: str = ""


@dataclass(frozen=True)
class PretrainConfig:
    seed: Number = 0
    init: InitConfig = field(default_factory=InitConfig)
    model: SyncLipMAEConfig = field(default_factory=tiny)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    validate_every: Count = 200
    checkpoint_every: Count = 100

    def fault(self) -> str | None:
        if not self.stages:
            return "stages is empty; leave it out for one stage of the whole objective"
        for number, stage in enumerate(self.stages):
            if stage.learn == "vision" and not self.model.geometry_points:
                return f"stages[{number}] learns geometry, but model.geometry_points is 0"
            if stage.clips % self.data.clips_per_subject:
                return f"stages[{number}].clips is {stage.clips}; expected a multiple of data.clips_per_subject"
        if self.data.heard and not self.data.resident:
            return "data.heard needs data.resident"
        if self.data.heard and self.model.audio.front_end == "mel":
            return "data.heard is for a frozen speech encoder; the mel front end is augmented at each step"
        if self.data.refresh_offsets_at and not self.data.resident:
            return "data.refresh_offsets_at needs data.resident; elsewhere run python -m train.offsets"
        if self.init.model and (self.init.visual or self.init.audio):
            return "init.model brings its own encoders; leave init.visual and init.audio out"
        return None


T = TypeVar("T")


def read_config(cls: type[T], path: str | Path) -> T:
    """A config dataclass from a YAML. Raises SyncLipError naming the setting that is wrong."""
    return from_dict(cls, _read_yaml(path), str(path))


def laid_over(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with changes laid over them."""
    merged = dict(data)
    for key, value in changes.items():
        # `encoder` is settings of another library's class: taken whole
        inner = isinstance(value, dict) and isinstance(data.get(key), dict) and key != "encoder"
        merged[key] = laid_over(data[key], value) if inner else value
    return merged


def checkpoint_path(name: str) -> Path:
    """The file that `init.model` names."""
    return BUNDLED if name == "bundled" else Path(name)


def load_config(path: str | Path) -> PretrainConfig:
    """Read and check a YAML of pretraining. Raises SyncLipError naming the setting that is wrong."""
    data = _read_yaml(path)
    init, own = (data.get(key, {}) for key in ("init", "model")) if isinstance(data, dict) else ({}, {})
    name = init.get("model") if isinstance(init, dict) else None
    if name and isinstance(name, str) and isinstance(own, dict):
        data = {**data, "model": laid_over(read_config_of(checkpoint_path(name)), own)}
    return from_dict(PretrainConfig, data, str(path))


def _read_yaml(path: str | Path, above: tuple[Path, ...] = ()) -> Any:
    """What a YAML says, laid over the one that its `extends:` names, a file beside it; lists are taken whole."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SyncLipError(f"{path}: cannot read the config ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SyncLipError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict) or "extends" not in data:
        return data
    name, above = data.pop("extends"), (*above, Path(path).resolve())
    if not isinstance(name, str) or (base := Path(path).parent / name).resolve() in above:
        raise SyncLipError(f"{path}: extends is {name!r}; expected another YAML that does not extend this one itself")
    below = _read_yaml(base, above)
    if not isinstance(below, dict):
        raise SyncLipError(f"{base}: expected settings by name, as {path} extends it")
    return laid_over(below, data)
