"""Latents that are computed once: a video VAE costs more than what learns from it."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from synclip_core.dubbing.vace import Codec
from synclip_core.files.atomic import atomic_path


class CachedCodec:
    """A Codec that remembers on disk, by what the pictures show, up to `most_gb`; full, it computes the others anew.

    Latents are rounded to float16, those just made as well, so that a run that was cut sees what an unbroken one does.
    """

    def __init__(self, codec: Codec, folder: Path, most_gb: float) -> None:
        self.codec, self.most = codec, most_gb * 2**30
        self.folder = folder / _fingerprint(codec)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.size = sum(file.stat().st_size for file in self.folder.iterdir())

    def encode(self, frames: Tensor) -> Tensor:
        return torch.cat([self._encode(row[None]) for row in frames])

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.decode(latents)

    def _encode(self, row: Tensor) -> Tensor:
        pictures = row.detach().cpu().contiguous()
        seen = hashlib.blake2b(repr(pictures.shape).encode() + pictures.numpy().tobytes(), digest_size=16)
        path = self.folder / f"{seen.hexdigest()}.safetensors"
        try:
            if path.is_file():
                return load_file(path)["latents"].to(row)
        except (OSError, SafetensorError, KeyError):  # damaged: made again
            pass
        latents = self.codec.encode(row).half()
        kept = save({"latents": latents.cpu().contiguous()})
        if self.size + len(kept) <= self.most:
            with atomic_path(path) as temporary:
                temporary.write_bytes(kept)
            self.size += len(kept)
        return latents.to(row)


def _fingerprint(codec: Codec) -> str:
    """Of the weights: another VAE in the same place gives other latents."""
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(codec, nn.Module):
        for tensor in codec.state_dict().values():
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
