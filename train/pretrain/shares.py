"""A step's batch in shares, as many as processes began the run, so that the run does not depend on how many go on.

A process that does the work of several computes each by itself, in the shapes in which it was always computed: one
bigger batch would sum in another order, and Adam turns a last digit into steps of full size. Only tokens are compared
across shares, and only the gradients of tokens travel back (as in GradCache, arXiv 2101.06983, without computing
anything twice).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from train.engine.distributed import gathered, rank, size, summed
from train.pretrain.objective import Losses, Named, Tokens


def learn_together(
    encoded: Sequence[tuple[Named, Named]], compare: Callable[[Tokens], Losses], backward: Callable[[Tensor], None]
) -> list[Losses]:
    """Loss and backward pass of each share of this process, in order; all processes call it with as many.

    encoded: what a stage's `encode` returned of each; compare: its `compare`. The mean over all shares of the gradients
    is the batch's.
    """
    count, first = len(encoded) * size(), len(encoded) * rank()
    if count == 1:
        own, shared = encoded[0]
        losses = compare(Tokens(own, shared, shared, 0))
        backward(losses.total)
        return [losses]
    everyone = {name: gathered(torch.cat([shared[name].detach() for _, shared in encoded])) for name in encoded[0][1]}
    learned = [name for name, tokens in encoded[0][1].items() if tokens.requires_grad]
    given = [everyone[name].requires_grad_() for name in learned]
    found = [compare(Tokens(own, shared, everyone, first + k)) for k, (own, shared) in enumerate(encoded)]
    # what all shares say of the tokens that they were given
    answers = [torch.zeros_like(tokens) for tokens in given]
    for losses in found:
        gradients = torch.autograd.grad(losses.total, given, retain_graph=True, allow_unused=True)
        answers = [answer if g is None else answer + g for answer, g in zip(answers, gradients, strict=True)]
    ours = [summed(answer).chunk(count)[first : first + len(encoded)] for answer in answers]
    for k, (losses, (_, shared)) in enumerate(zip(found, encoded, strict=True)):
        answered = [(shared[name] * of_shares[k]).sum() for name, of_shares in zip(learned, ours, strict=True)]
        backward(losses.total + torch.stack(answered).sum())
    return found
