"""The control of a token stream, computed once for all steps of sampling: an AudioPack knows nothing of the step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SyncLipError
from .audiopack import FRAMES_PER_LATENT, AudioPack, window
from .injection import on_latents

FRAMES_AT_ONCE = 256 * FRAMES_PER_LATENT  # memory stays flat, however long the stream


@dataclass(frozen=True)
class Control:
    """packed: [1, N, width], a row a latent frame from `first` on; the last one is that of frames long past the stream.
    valid: bool [T], which frames from `first` on have a token."""

    packed: Tensor
    valid: Tensor

    def on(self, length: int, references: int, latents: Sequence[int] | None = None) -> Tensor:
        """[1, length, width] for a clip of `length` latent frames, the first `references` of them reference latents.

        latents: which of them, where a window of the clip is asked for: [1, len(latents), width].
        """
        packed = self.packed[:, : max(0, length - references)]
        beyond = length - references - packed.shape[1]
        if beyond > 0:
            packed = torch.cat([packed, self.packed[:, -1:].expand(-1, beyond, -1)], 1)
        whole = on_latents(packed, length, references)
        return whole if latents is None else whole[:, list(latents)]

    def scaled(self, strength: float) -> "Control":
        """Acting `strength` times as much."""
        return Control(self.packed * strength, self.valid)

    def without_token(self, frames: int) -> int:
        """How many of the first `frames` frames have no token."""
        return frames - int(self.valid[:frames].sum())


@torch.no_grad()
def control_of(
    network: AudioPack,
    tokens: Tensor,
    valid: Tensor,
    first: int = 0,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Control:
    """Control of tokens [T, D] (valid: bool [T]) from frame `first` on, in float32 on the CPU.

    progress(done, total) is called between windows. Raises SyncLipError where no frame from `first` on has a token.
    """
    rest = valid[first:]
    if not bool(rest.any()):
        raise SyncLipError(
            f"no frame from {first} on has a token (the stream has {len(tokens)} frames at 25 fps, "
            f"{int(valid.sum())} of them with a token)"
        )
    reach = network.config.reach
    packs = -(-(len(rest) + reach + FRAMES_PER_LATENT - 1) // FRAMES_PER_LATENT)  # the last one sees no token
    total, rows = packs * FRAMES_PER_LATENT, []
    for start in range(0, total, FRAMES_AT_ONCE):
        frames = 1 + min(FRAMES_AT_ONCE, total - start)  # packs of four, and the frame before them
        part = network(*window(tokens, valid, first + start, frames, reach))
        rows.append(part if start == 0 else part[:, 1:])
        progress(start + frames - 1, total)
    return Control(torch.cat(rows, 1), rest)
