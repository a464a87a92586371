"""A video code of Wan's geometry that is one matrix: 8 x 8 pixels of 4 frames become 16 numbers (PCA).

For the toy dubbing model: it is fitted in a minute, and what the model makes of the numbers is the model's own merit.
Each pixel is restored from its cell and the 26 around it in space and time, which takes out most of the blocks and of
the flicker from one latent frame to the next.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SyncLipError
from ..files.safetensors_file import read_safetensors, save_safetensors
from .audiopack import FRAMES_PER_LATENT

FORMAT = "synclip-linear-vae-2"
CHANNELS, CELL = 16, 8
AROUND = (3, 3, 3)  # latent frames, rows and columns that a pixel is restored from
PIXELS = FRAMES_PER_LATENT * CELL * CELL * 3


class LinearVae(nn.Module):
    """mean: [PIXELS]; into: [PIXELS, 16]; out: [PIXELS, 16, 3, 3, 3] and bias [PIXELS], over pixels in
    -1..1."""

    mean: Tensor
    into: Tensor
    out: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(PIXELS))
        self.register_buffer("into", torch.zeros(PIXELS, CHANNELS))
        self.register_buffer("out", torch.zeros(PIXELS, CHANNELS, *AROUND))
        self.register_buffer("bias", torch.zeros(PIXELS))

    def encode(self, frames: Tensor) -> Tensor:
        """frames: [B, T, H, W, 3], 0..1, sides multiples of 8, T = 4 n + 1. Returns [B, 16, n + 1, H / 8, W / 8]."""
        return ((_cells(frames) - self.mean) @ self.into).movedim(-1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """[B, 16, T', h, w] -> [B, 4 T' - 3, 8 h, 8 w, 3], 0..1."""
        cells = F.conv3d(_padded(latents), self.out, self.bias).transpose(1, 2)
        cells = cells.unflatten(2, (FRAMES_PER_LATENT, CELL, CELL, 3)).permute(0, 1, 2, 6, 3, 7, 4, 5)
        frames = cells.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return (frames[:, FRAMES_PER_LATENT - 1 :] * 0.5 + 0.5).clamp(0, 1)


def fit(clips: Iterable[Tensor]) -> LinearVae:
    """From [T, H, W, 3] clips in 0..1, read twice. Deterministic.

    Channels are scaled to the square root of their deviation: high frequencies then drown in noise before low ones
    do, as they do in pictures, but not as early.
    """
    clips, vae = list(clips), LinearVae()
    count, total, square = 0, torch.zeros(PIXELS, dtype=torch.double), torch.zeros(PIXELS, PIXELS, dtype=torch.double)
    for clip in clips:
        cells = _cells(clip[None]).flatten(0, -2).double()
        count, total, square = count + len(cells), total + cells.sum(0), square + cells.T @ cells
    mean = total / count
    values, vectors = torch.linalg.eigh(square / count - mean[:, None] * mean)
    deviation = values.flip(0)[:CHANNELS].sqrt()
    scale = deviation.rsqrt() / deviation.mean().sqrt()
    vae.mean, vae.into = mean.float(), (vectors.flip(1)[:, :CHANNELS] * scale).float()
    inputs = CHANNELS * math.prod(AROUND) + 1
    gram, cross = torch.zeros(inputs, inputs, dtype=torch.double), torch.zeros(inputs, PIXELS, dtype=torch.double)
    for clip in clips:
        around = _padded(vae.encode(clip[None]))[0]
        for axis, reach in enumerate(AROUND, 1):
            around = around.unfold(axis, reach, 1)
        around = F.pad(around.permute(1, 2, 3, 0, 4, 5, 6).flatten(3).flatten(0, 2).double(), (0, 1), value=1.0)
        gram, cross = gram + around.T @ around, cross + around.T @ _cells(clip[None]).flatten(0, -2).double()
    solved = torch.linalg.solve(gram + 1e-3 * torch.eye(inputs, dtype=torch.double), cross).float()
    vae.out, vae.bias = solved[:-1].T.reshape(PIXELS, CHANNELS, *AROUND).contiguous(), solved[-1].contiguous()
    return vae


def save_linear_vae(path: str | Path, vae: LinearVae, record: dict) -> None:
    """Atomic. Raises SyncLipError where it cannot be written."""
    state = {name: tensor.cpu().contiguous() for name, tensor in vae.state_dict().items()}
    save_safetensors(path, state, {"format": FORMAT, "metadata": json.dumps(record)})


def load_linear_vae(path: str | Path) -> LinearVae:
    """Raises SyncLipError when the file is missing or holds something else."""
    tensors, header = read_safetensors(path)
    if header.get("format") != FORMAT:
        raise SyncLipError(f"{path}: holds no linear video code; expected a file of train.fit_linear_vae")
    vae = LinearVae()
    try:
        vae.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise SyncLipError(f"{path}: a damaged linear video code ({error})") from error
    return vae.eval()


def _padded(latents: Tensor) -> Tensor:
    """[B, 16, T', h, w] -> [B, 16, T' + 2, h + 2, w + 2]."""
    return F.pad(latents, (1, 1, 1, 1, 1, 1), mode="replicate")


def _cells(frames: Tensor) -> Tensor:
    """[B, 4 n + 1, H, W, 3] in 0..1 -> [B, n + 1, H / 8, W / 8, PIXELS] in -1..1, the first frame four times."""
    still = frames[:, :1].expand(-1, FRAMES_PER_LATENT - 1, -1, -1, -1)
    x = torch.cat([still, frames], 1) * 2 - 1
    x = x.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL)).unflatten(1, (-1, FRAMES_PER_LATENT))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
