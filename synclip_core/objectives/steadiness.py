"""Identity is what stays and vocal motion what changes: ours, not the paper's.

Both are shares of variance, so that neither a token's scale nor its direction matters, and 0 is reached where a token
is what it is called: identity alike in all frames of a clip, vocal motion alike on average in all clips.
"""

from torch import Tensor


def within_share(tokens: Tensor, counts: Tensor) -> Tensor:
    """Share of a token's variance that lies within clips, mean over its dimensions; 0: every clip has one value.

    tokens: [B, T, D] of B clips; counts: [B, T] bool, frames that count.
    """
    within, between = _variances(tokens, counts)
    return (within / (within + between).clamp_min(1e-8)).mean()


def between_share(tokens: Tensor, counts: Tensor) -> Tensor:
    """Share of a token's variance that lies between the means of clips; 0: all clips have one mean."""
    within, between = _variances(tokens, counts)
    return (between / (within + between).clamp_min(1e-8)).mean()


def _variances(tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """[D] within clips and between their means, every frame that counts alike."""
    tokens, weight = tokens.float(), counts[..., None].float()
    frames = weight.sum(1, keepdim=True)
    mean = (tokens * weight).sum(1, keepdim=True) / frames.clamp_min(1)
    total = frames.sum().clamp_min(1)
    middle = (mean * frames).sum((0, 1), keepdim=True) / total
    within = ((tokens - mean).square() * weight).sum((0, 1)) / total
    between = ((mean - middle).square() * frames).sum((0, 1)) / total
    return within, between
