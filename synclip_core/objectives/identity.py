"""Identity tokens of one person alike, of two apart: ours, not the paper's (supervised contrast, arXiv 2004.11362)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_contrast(tokens: Tensor, person: Tensor, temperature: float = 0.1) -> Tensor:
    """Mean over tokens of -log of the probability that their own person has among all others; a scalar.

    The identity shuffle alone leaves motion in the token where the decoder finds no use for it. tokens: [N, D]; person:
    [N] int, equal where it is the same person. Tokens of a person who stands alone do not ask.
    """
    unit = F.normalize(tokens.float(), dim=-1)
    logits = (unit @ unit.T / temperature).fill_diagonal_(float("-inf"))
    same = (person[:, None] == person[None]).fill_diagonal_(False)
    asked = same.any(1) & (~same).sum(1).gt(1)
    logits = logits - logits.logsumexp(1, keepdim=True)
    found = torch.where(same, logits, torch.zeros_like(logits)).sum(1) / same.sum(1).clamp_min(1)
    return -(found * asked).sum() / asked.sum().clamp_min(1)
