"""What the halves of the objective are given and hand on."""

from typing import NamedTuple

from torch import Tensor

from synclip_core.models.synclipmae import SyncLipMAE
from train.data.noise import Draws
from train.data.sampling import Batch
from train.pretrain.config import AugmentConfig, LossConfig, StageConfig

Named = dict[str, Tensor]


class Losses(NamedTuple):
    """`total` is what is minimised; `parts` are the unweighted terms, for the log."""

    total: Tensor
    parts: Named


class Step(NamedTuple):
    """What a share of a step is made of. together: clips of one subject that stand side by side."""

    model: SyncLipMAE
    batch: Batch
    stage: StageConfig
    augmentation: AugmentConfig
    loss: LossConfig
    noise: Draws
    together: int = 1


class Tokens(NamedTuple):
    """own, shared: what `encode` returned of a share; everyone: `shared` of all shares; place: of ours among them."""

    own: Named
    shared: Named
    everyone: Named
    place: int
