"""Memory of weights, gradients, optimiser and average, by ZeRO stage (Rajbhandari et al. 2020, section 5)."""

from dataclasses import dataclass

ZERO_STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Precision:
    """Bytes of one number. state: of a learned parameter in the optimiser; cast: of a working copy of each weight;
    residual: of the stream between sublayers; inner: of what matrix products take and give."""

    name: str
    weight: int
    gradient: int
    state: int
    cast: int
    residual: int
    inner: int


FP32 = Precision("fp32", 4, 4, 8, 0, 4, 4)
# What train.pretrain does with optim.bf16, under DeepSpeed too: fp32 weights, gradients and two moments, bf16 copies.
AUTOCAST = Precision("bf16 autocast", 4, 4, 8, 2, 4, 2)
# The mixed precision of the ZeRO paper, to compare: bf16 weights and gradients, fp32 master copy and two moments.
MIXED = Precision("bf16, fp32 master", 2, 2, 12, 0, 4, 2)


@dataclass(frozen=True)
class States:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    average: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.average


def states(total: int, trained: int, precision: Precision, zero: int, gpus: int) -> States:
    """total, trained: parameters. Stage 1 spreads the optimiser over the GPUs, 2 the gradients too, 3 the weights too.

    The average is the fp32 copy of all weights that train.pretrain keeps on every GPU.
    """

    def share(begins: int) -> int:
        return gpus if zero >= begins else 1

    return States(
        total * (precision.weight + precision.cast) / share(3),
        trained * precision.gradient / share(2),
        trained * precision.state / share(1),
        total * 4,
    )
