"""Random numbers of a batch, each clip's from a generator of its own: the same whichever process holds the clip."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Draws(Protocol):
    """Rows of draws, one a clip. alone: nothing of a clip may depend on the other clips that this process holds."""

    alone: bool

    def __len__(self) -> int: ...

    def normal(self, *shape: int) -> Tensor:
        """[B, *shape], mean 0 and deviation 1."""

    def grain(self, *shape: int, device: torch.device) -> Tensor:
        """As `normal`, drawn where it is needed: for pictures, whose noise is too much to draw and move elsewhere."""

    def uniform(self, *shape: int) -> Tensor:
        """[B, *shape], 0..1."""

    def order(self, count: int) -> Tensor:
        """[B, count]: a permutation of `count` a row."""


class Noise:
    """Draws on the CPU that do not depend on who holds the other clips: for runs that several processes share."""

    alone = True

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
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators])

    def grain(self, *shape: int, device: torch.device) -> Tensor:
        if device.type in ("cpu", "meta"):
            return self.normal(*shape).to(device)
        drawn = torch.empty(len(self), *shape, device=device)
        for row, generator in zip(drawn, self.generators, strict=True):
            seed = int(torch.randint(2**62, (), generator=generator))
            row.normal_(generator=torch.Generator(device).manual_seed(seed))
        return drawn

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])

    def order(self, count: int) -> Tensor:
        return torch.stack([torch.randperm(count, generator=g) for g in self.generators])


class DeviceNoise:
    """Draws of all clips at once on one device: for batches that are made there (train/data/resident.py), where a
    generator a clip would keep the device waiting. Reproducible from (seed, step) on the same kind of device."""

    alone = False

    def __init__(self, clips: int, seed: int, device: torch.device | str) -> None:
        self.clips, self.device = clips, torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    @classmethod
    def of(cls, seed: int, step: int, clips: int, device: torch.device | str) -> "DeviceNoise":
        state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
        return cls(clips, int(state >> np.uint64(1)), device)

    def __len__(self) -> int:
        return self.clips

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.clips, *shape, generator=self.generator, device=self.device)

    def grain(self, *shape: int, device: torch.device) -> Tensor:
        return self.normal(*shape).to(device)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.clips, *shape, generator=self.generator, device=self.device)

    def order(self, count: int) -> Tensor:
        return self.uniform(count).argsort(1)


class Rows:
    """What some of the clips draw, the same as where all are asked."""

    def __init__(self, draws: Draws, rows: Tensor) -> None:
        self.draws, self.rows, self.alone = draws, rows, draws.alone

    def __len__(self) -> int:
        return len(self.rows)

    def normal(self, *shape: int) -> Tensor:
        return self.draws.normal(*shape)[self.rows]

    def grain(self, *shape: int, device: torch.device) -> Tensor:
        return self.draws.grain(*shape, device=device)[self.rows]

    def uniform(self, *shape: int) -> Tensor:
        return self.draws.uniform(*shape)[self.rows]

    def order(self, count: int) -> Tensor:
        return self.draws.order(count)[self.rows]
