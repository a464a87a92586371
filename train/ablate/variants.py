"""The grid: what each row of the paper's Table 6, and each row of ours beside it, changes in the config."""

from dataclasses import dataclass, field
from typing import Any

from synclip_core.files.settings import from_dict, to_dict
from train.pretrain.config import PretrainConfig, laid_over


@dataclass(frozen=True)
class Variant:
    """changes: nested settings laid over the base config; paper: Acc@1, @5, @15 and R@1 of Table 6, in percent."""

    label: str
    changes: dict[str, Any] = field(default_factory=dict)
    paper: tuple[float, float, float, float] | None = None


# Random weights in wav2vec2's layout: no published ones are needed to compare two ways of timing the same network.
_WAV2VEC2 = {
    "front_end": "wav2vec2",
    "width": 64,
    "depth": 3,
    "encoder": {"conv_dim": [64] * 7, "num_attention_heads": 2},
}

_VIEW = {view: {"model": {"visual": {"bypasses": view}}} for view in ("uniform", "face")}
_AUDIO = {
    way: {"init": {"audio": ""}, "model": {"audio": {**_WAV2VEC2, "align": way}}} for way in ("features", "waveform")
}

_MEL = {"front_end": "mel", "align": "features", "width": 80, "depth": 4, "norm_layers": False}
_OURS_OFF = {  # every deviation of ours from the paper that is a switch (train/configs/paper.yaml names them)
    "augment": {"geometric": 0.0, "degrade": 0.0, "sound": 0.0, "mel": 0.0},
    "data": {"speed": 0.0},
    "loss": {
        "same_clip": 0.0,
        "ignore_neighbours": 0,
        "identity_contrast": 0.0,
        "steadiness": 0.0,
        "face_weight": 0.0,
        "geometry": 0.0,
    },
    "model": {"geometry_points": 0},
}

VARIANTS = {
    "ours": Variant("ours", {}, (52.53, 68.41, 82.27, 40.18)),
    "A1": Variant("A1 uniform only (single view)", _VIEW["uniform"], (9.34, 12.68, 18.57, 2.83)),
    "A2": Variant("A2 face-aware only (single view)", _VIEW["face"], (45.63, 61.07, 75.88, 33.45)),
    "A3": Variant(
        "A3 no photometric jitter", {"augment": {"photometric": 0.0, "degrade": 0.0}}, (49.62, 65.91, 79.87, 37.54)
    ),
    "B1": Variant("B1 last layer only", {"model": {"audio": {"layers": "last"}}}, (42.68, 58.34, 73.45, 30.92)),
    "C1": Variant(
        "C1 no cross-attention", {"model": {"decoder": {"cross_attention": False}}}, (48.27, 64.31, 78.44, 36.21)
    ),
    "single-pass": Variant("decoder driven by video only", {"loss": {"passes": ["video"]}}),
    "no-decorrelation": Variant("no decorrelation", {"loss": {"decorrelation": 0.0}}),
    "no-shuffle": Variant("no identity shuffle", {"loss": {"shuffle_identity": 0.0}}),
    # of what is ours: for train/configs/ablation_gpu.yaml, where it is switched on
    "mel": Variant("mel instead of Whisper", {"init": {"audio": ""}, "model": {"audio": _MEL}}),
    "averaged": Variant("Whisper's rows averaged", {"model": {"audio": {"align": "features"}}}),
    "no-geometry": Variant("no lip landmarks", {"model": {"geometry_points": 0}}),
    "no-same-clip": Variant("no contrast within a clip", {"loss": {"same_clip": 0.0}}),
    "no-identity": Variant("no identity contrast", {"loss": {"identity_contrast": 0.0}}),
    "no-steadiness": Variant("nothing that stays or changes", {"loss": {"steadiness": 0.0}}),
    "no-face-weight": Variant("all patches weigh alike", {"loss": {"face_weight": 0.0}}),
    "paper-only": Variant("none of our deviations", _OURS_OFF),
    "features": Variant("random wav2vec2, rows averaged", _AUDIO["features"]),
    "waveform": Variant("random wav2vec2, waveform resampled", _AUDIO["waveform"]),
}


def variant_config(base: PretrainConfig, variant: Variant, seed: int) -> PretrainConfig:
    """The base config with a variant's changes and a seed."""
    data = laid_over(to_dict(base), variant.changes)
    return from_dict(PretrainConfig, {**data, "seed": seed}, variant.label)
