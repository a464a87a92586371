"""The pretraining objective on one batch (SyncLipMAE, section 3.3), in two halves.

A batch may be cut into shares, over processes or one after the other (shares.py). A stage's `encode` is what a share
computes by itself; its `compare` sets the tokens against those of all. The mean of the shares' losses is the batch's.
"""

from .parts import Losses, Named, Step, Tokens
from .stages import STAGES

__all__ = ["STAGES", "Losses", "Named", "Step", "Tokens", "pretraining_losses"]


def pretraining_losses(step: Step) -> Losses:
    """Both halves on a batch that is not shared."""
    stage = STAGES[step.stage.learn]
    own, shared = stage.encode(step)
    return stage.compare(Tokens(own, shared, shared, 0), step.loss, None)
