"""Random numbers of a batch, each clip's from a generator of its own: the same whichever process holds the clip."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


class Noise:
    """Rows of draws on the CPU, one a clip."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @classmethod
    def of(cls, seed: int, step: int, clips: Iterable[int]) -> "Noise":
        """What the clips of these numbers draw in a step of a run."""
        states = (np.random.SeedSequence((seed, step, clip)).generate_state(1, np.uint64)[0] for clip in clips)
        return cls([int(state >> np.uint64(1)) for state in states])

    def __len__(self) -> int:
        return len(self.generators)

    def normal(self, *shape: int) -> Tensor:
        """[B, *shape], mean 0 and deviation 1."""
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators])

    def grain(self, *shape: int, device: torch.device) -> Tensor:
        """As `normal`, drawn where it is needed: for pictures, whose noise is too much to draw and move elsewhere."""
        if device.type in ("cpu", "meta"):
            return self.normal(*shape).to(device)
        drawn = torch.empty(len(self), *shape, device=device)
        for row, generator in zip(drawn, self.generators, strict=True):
            seed = int(torch.randint(2**62, (), generator=generator))
            row.normal_(generator=torch.Generator(device).manual_seed(seed))
        return drawn

    def uniform(self, *shape: int) -> Tensor:
        """[B, *shape], 0..1."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])

    def order(self, count: int) -> Tensor:
        """[B, count]: a permutation of `count` a row."""
        return torch.stack([torch.randperm(count, generator=g) for g in self.generators])
