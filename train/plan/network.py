"""What a step sends between GPUs, and how long that takes."""

from dataclasses import dataclass

from synclip_core.models.config import SyncLipMAEConfig
from train.pretrain.config import StageConfig

from .hardware import Gpu, pass_seconds
from .states import Precision


@dataclass(frozen=True)
class Traffic:
    """Bytes that one GPU sends a step. weights: gathered or summed for the optimiser; tokens: of the contrast."""

    gradients: float
    weights: float
    tokens: float
    seconds: float  # of all of it, one after the other
    token_seconds: float  # of the tokens alone: nothing can be computed meanwhile

    @property
    def total(self) -> float:
        return self.gradients + self.weights + self.tokens


def traffic(
    total: int,
    trained: int,
    model: SyncLipMAEConfig,
    stage: StageConfig,
    precision: Precision,
    zero: int,
    gpus: int,
    gpu: Gpu,
) -> Traffic:
    """total, trained: parameters.

    Stage 0 sums the gradients (an all-reduce: 2 (N - 1) / N of their bytes). Stages 1 and 2 scatter the sums and gather
    the learned weights, which is as much. Stage 3 scatters the sums and gathers all weights for the forward and the
    learned ones again for the backward pass: 1.5 times as much (Rajbhandari et al. 2020, section 7) and the frozen
    weights. The encoder and the decoder run twice a step; DeepSpeed keeps what it uses again within 1e9 parameters
    (stage3_max_reuse_distance), so that they count once.

    The contrast gathers audio and vocal tokens and the sound's features of all GPUs, and scatters the gradient of the
    tokens; fp32.
    """
    gradients = trained * precision.gradient
    if zero == 0:
        passes, weights = 2 * gradients, 0
    elif zero < 3:
        passes, weights = gradients, trained * precision.weight
    else:
        passes, weights = gradients, (total + trained) * precision.weight
    tokens = 0.0
    if stage.learn != "vision":
        one = stage.clips * stage.frames * 4.0
        tokens = one * gpus * (2 * 2 * model.dim + sound_width(model))
    share = (gpus - 1) / gpus
    waiting = pass_seconds(tokens, gpus, gpu)
    seconds = pass_seconds(passes + weights, gpus, gpu) + waiting
    return Traffic(passes * share, weights * share, tokens * share, seconds, waiting)


def sound_width(model: SyncLipMAEConfig) -> int:
    """Width of the features whose self-similarity widens the positive set (objective.audio_tokens)."""
    return model.audio.width * (model.audio.depth if model.audio.depth <= 4 else 1)
