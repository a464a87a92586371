"""Samples of dubbing: 17 frames of a clip, the frame before, a picture of the person, and the tokens of one stream."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synclip_core.dubbing.audiopack import window
from synclip_core.errors import SyncLipError
from train.data.sampling import ClipSource
from train.dubbing.config import DubbingConfig
from train.dubbing.tokens import ClipTokens


@dataclass(frozen=True)
class Cut:
    """One sample of a clip. stream: "audio", "vocal" or "none"."""

    key: str
    first: int
    identity: int
    stream: str
    flip: bool = False


@dataclass
class DubBatch:
    """video: uint8 [B, T, S, S, 3]; identity, history: uint8 [B, S, S, 3], no history where it is dropped; tokens:
    float32 [B, T + 2 * reach, D] and valid, bool, as AudioPack.forward wants them; slots: as data.sampling.Batch has
    them; cuts: where the samples come from, in training."""

    video: Tensor
    identity: Tensor
    history: Tensor | None
    tokens: Tensor
    valid: Tensor
    margin: float
    slots: tuple[int, ...] = ()
    cuts: tuple[Cut, ...] = ()


class Windows:
    """Reproducible from (seed, step, slot), like data.sampling.Sampler."""

    def __init__(self, store: ClipSource, tokens: dict[str, ClipTokens], config: DubbingConfig, reach: int) -> None:
        self.store, self.tokens, self.config, self.reach = store, tokens, config, reach
        need = config.data.frames + 1
        sources: dict[str, list[str]] = defaultdict(list)
        hours: dict[str, float] = defaultdict(float)
        for key, meta in sorted(store.meta.items()):
            if meta["frames"] >= need and len(self.starts(key)):
                sources[meta["source"]].append(key)
                hours[meta["source"]] += meta["frames"]
        if not sources:
            raise SyncLipError(f"no clip shows a face for {need} frames on end, so there is nothing to dub")
        self.sources = list(sources.values())
        weight = np.array([hours[source] for source in sources]) ** config.data.source_power
        self.weight = weight / weight.sum()

    @property
    def margin(self) -> float:
        """Around the canonical square, of all crops."""
        return self.store[self.sources[0][0]].margin

    def starts(self, key: str) -> np.ndarray:
        """Where a sample may begin: the face is seen in all its frames and in the one before."""
        need = self.config.data.frames + 1
        seen = np.lib.stride_tricks.sliding_window_view(self.tokens[key].seen.numpy(), need).all(1)
        return (np.flatnonzero(seen) + 1)[:: self.config.data.stride]

    def draw(self, step: int, slots: Sequence[int]) -> DubBatch:
        """The samples of these slots of a step's batch."""
        history = np.random.default_rng((self.config.seed, step)).random() >= self.config.drop_history
        cuts = [self._cut(np.random.default_rng((self.config.seed, step, slot))) for slot in slots]
        return self.collect(cuts, history, tuple(slots))

    def collect(self, cuts: Sequence[Cut], history: bool, slots: tuple[int, ...] = ()) -> DubBatch:
        """Samples as a batch."""
        pictures = [self._pictures(cut) for cut in cuts]
        driven = [self.control(cut) for cut in cuts]
        return DubBatch(
            torch.stack([p[0] for p in pictures]),
            torch.stack([p[1] for p in pictures]),
            torch.stack([p[2] for p in pictures]) if history else None,
            torch.cat([tokens for tokens, _ in driven]),
            torch.cat([valid for _, valid in driven]),
            self.store[cuts[0].key].margin,
            slots,
            tuple(cuts),
        )

    def control(self, cut: Cut) -> tuple[Tensor, Tensor]:
        """Tokens and which of them there are, a batch of one."""
        held = self.tokens[cut.key]
        stream, valid = (held.audio, held.heard) if cut.stream == "audio" else (held.vocal, held.seen)
        if cut.stream == "none":
            valid = torch.zeros_like(valid)
        return window(stream.float(), valid, cut.first, self.config.data.frames, self.reach)

    def heard(self, key: str) -> bool:
        """Whether the sound of a clip is known to belong to its picture."""
        meta = self.store.meta[key]
        sure = float(meta.get("offset_confidence", 1.0)) >= self.config.data.min_offset_confidence
        return meta["sync"] == "trusted" or sure

    def _cut(self, rng: np.random.Generator) -> Cut:
        config = self.config
        keys = self.sources[rng.choice(len(self.sources), p=self.weight)]
        key = keys[rng.integers(len(keys))]
        first = int(rng.choice(self.starts(key)))
        seen = np.flatnonzero(self.tokens[key].seen.numpy())[:: config.data.stride]
        away = seen[(seen < first - 1) | (seen >= first + config.data.frames)]
        identity = int(rng.choice(away if len(away) else seen))
        audio = rng.random() < config.audio_share and self.heard(key)
        stream = "none" if rng.random() < config.drop_tokens else "audio" if audio else "vocal"
        return Cut(key, first, identity, stream, bool(rng.random() < config.data.flip))

    def _pictures(self, cut: Cut) -> tuple[Tensor, Tensor, Tensor]:
        crops = self.store[cut.key].crops
        frames = np.arange(cut.first - 1, cut.first + self.config.data.frames)
        shown = crops[np.append(frames, cut.identity)]
        pictures = resized(torch.from_numpy(shown[:, :, ::-1].copy() if cut.flip else shown), self.config.data.size)
        return pictures[1:-1], pictures[-1], pictures[0]


def resized(pictures: Tensor, size: int) -> Tensor:
    """uint8 [N, S, S, 3] -> uint8 [N, size, size, 3]."""
    if pictures.shape[1] == size:
        return pictures
    small = F.interpolate(pictures.movedim(-1, 1).float(), (size, size), mode="bilinear", antialias=True)
    return small.movedim(1, -1).round().clamp(0, 255).to(torch.uint8).contiguous()
