"""Audio-vocal contrastive alignment: symmetric InfoNCE with several positives (SyncLipMAE, section 3.3)."""

import torch
from torch import Tensor


def positive_set(
    clip: Tensor, frame: Tensor, audio: Tensor, neighbours: int, threshold: float, rows: Tensor | None = None
) -> Tensor:
    """Which video token may stand for which audio token.

    clip, frame: [M] index of the clip and the frame of each token; audio: [M, F] features whose cosine similarity is
    compared with `threshold` (over 1: off); rows: [m] indices of those that are asked about, all if None.
    Returns [m, M] bool: the aligned pair, neighbours within `neighbours` frames of the same clip, and pairs whose audio
    sounds the same.
    """
    rows = torch.arange(len(clip), device=clip.device) if rows is None else rows
    near = (clip[rows, None] == clip[None]) & ((frame[rows, None] - frame[None]).abs() <= neighbours)
    if threshold <= 1:
        unit = torch.nn.functional.normalize(audio, dim=-1)
        near = near | (unit[rows] @ unit.T >= threshold)
    return near


def contrastive_loss(logits: Tensor, positive: Tensor, ignore: Tensor | None = None) -> Tensor:
    """-log of the probability mass on the positives, averaged over both directions.

    logits: [M, M], audio rows against video columns, already divided by the temperature; positive: [M, M] bool with
    at least one true entry a row and column; ignore: [M, M] bool, pairs that are neither positive nor negative.
    """
    turned = None if ignore is None else ignore.T
    rows = contrastive_rows(logits, positive, ignore)
    return (rows.mean() + contrastive_rows(logits.T, positive.T, turned).mean()) / 2


def contrastive_rows(logits: Tensor, positive: Tensor, ignore: Tensor | None = None) -> Tensor:
    """One direction of `contrastive_loss`: [m, M] -> [m], where a process has some of the rows and all columns."""
    if ignore is not None:
        logits = logits.masked_fill(ignore & ~positive, float("-inf"))
    return logits.logsumexp(1) - logits.masked_fill(~positive, float("-inf")).logsumexp(1)
