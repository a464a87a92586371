"""Audio-vocal contrastive alignment: symmetric InfoNCE with several positives (papers/synclipmae.txt, section 3.3)."""

import torch
from torch import Tensor


def positive_set(clip: Tensor, frame: Tensor, audio: Tensor, neighbours: int, threshold: float) -> Tensor:
    """Which video token may stand for which audio token.

    clip, frame: [M] index of the clip and the frame of each token; audio: [M, F] features whose cosine similarity is
    compared with `threshold` (over 1: off). Returns [M, M] bool: the aligned pair, neighbours within `neighbours`
    frames of the same clip, and pairs whose audio sounds the same.
    """
    near = (clip[:, None] == clip[None]) & ((frame[:, None] - frame[None]).abs() <= neighbours)
    if threshold <= 1:
        unit = torch.nn.functional.normalize(audio, dim=-1)
        near = near | (unit @ unit.T >= threshold)
    return near


def contrastive_loss(logits: Tensor, positive: Tensor, ignore: Tensor | None = None) -> Tensor:
    """-log of the probability mass on the positives, averaged over both directions.

    logits: [M, M], audio rows against video columns, already divided by the temperature; positive: [M, M] bool with
    at least one true entry a row and column; ignore: [M, M] bool, pairs that are neither positive nor negative.
    """
    if ignore is not None:
        logits = logits.masked_fill(ignore & ~positive, float("-inf"))
    matched = logits.masked_fill(~positive, float("-inf"))
    rows = logits.logsumexp(1) - matched.logsumexp(1)
    columns = logits.logsumexp(0) - matched.logsumexp(0)
    return (rows.mean() + columns.mean()) / 2
