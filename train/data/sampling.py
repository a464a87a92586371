"""From shards to batches: which clip, which stretch of it, at which speed."""

import json
import threading
import zlib
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from synclip_core.errors import SyncLipError
from train.config import DataConfig, StageConfig

from .clip import Clip
from .shards import RATE, decode_sample, read_shard

SAMPLES = RATE // 25  # audio samples a frame


@dataclass
class Batch:
    """crops: [B, T, S, S, 3] uint8; geometry: [B, T, 60, 2] canonical; valid: [B, T] bool; audio: [B, T * 640];
    trusted: [B] bool, clips whose audio belongs to their video, so that they may take part in the contrast.
    prompts: [B, T, width] vocal prompts of a resting visual encoder; crops and geometry are then empty."""

    crops: Tensor
    geometry: Tensor
    valid: Tensor
    audio: Tensor
    trusted: Tensor
    margin: float
    prompts: Tensor | None = None


class ClipSource(Protocol):
    """Clips by key, and what is known of each before it is read."""

    meta: dict[str, dict]

    def __getitem__(self, key: str) -> Clip: ...


class ClipStore:
    """All samples of a split, encoded in memory; decoded ones are kept while they fit in `cache_gb`."""

    def __init__(
        self, folder: str | Path, split: str, cache_gb: float, holdout: int = 0, held_out: bool = False
    ) -> None:
        paths = sorted(Path(folder).glob("*.tar"))
        if not paths:
            raise SyncLipError(f"{folder}: no shards (*.tar) here; write them with python -m train.prepare")
        self.samples: dict[str, dict[str, bytes]] = {}
        self.meta: dict[str, dict] = {}
        for path in paths:
            for key, parts in read_shard(path):
                meta = json.loads(parts["json"])
                if meta["split"] != split or held_out != is_held_out(meta, holdout):
                    continue
                self.samples[key] = parts
                self.meta[key] = meta
        if not self.samples:
            raise SyncLipError(f"{folder}: no sample of split {split!r}; prepare that split or name another")
        self._cache: OrderedDict[str, Clip] = OrderedDict()
        self._room = int(cache_gb * 2**30)

    def __getitem__(self, key: str) -> Clip:
        clip = self._cache.get(key)
        if clip is None:
            clip = decode_sample(key, self.samples[key])
            self._room -= clip.crops.nbytes
            self._cache[key] = clip
            while self._room < 0 and len(self._cache) > 1:
                self._room += self._cache.popitem(last=False)[1].crops.nbytes
        else:
            self._cache.move_to_end(key)
        return clip


def is_held_out(meta: dict, holdout: int) -> bool:
    """One in `holdout` identities of unchecked sources, by a stable hash of the name."""
    return bool(holdout) and meta["sync"] != "trusted" and zlib.crc32(meta["subject"].encode()) % holdout == 0


class Sampler:
    """Endless batches, reproducible from (seed, step): a resumed run draws what the unbroken one would have drawn."""

    def __init__(self, store: ClipSource, config: DataConfig, stage: StageConfig, seed: int) -> None:
        self.store, self.config, self.stage, self.seed = store, config, stage, seed
        sources: dict[str, list[str]] = defaultdict(list)
        hours: dict[str, float] = defaultdict(float)
        for key, meta in store.meta.items():
            if meta["frames"] < stage.frames:
                continue
            sources[meta["source"]].append(key)
            hours[meta["source"]] += meta["frames"]
        if not sources:
            raise SyncLipError(f"no sample is as long as a stage's frames = {stage.frames}; use a smaller number")
        self.sources = dict(sorted(sources.items()))
        weight = np.array([hours[s] for s in self.sources]) ** config.source_power
        self.weight = weight / weight.sum()

    def batch(self, step: int) -> Batch:
        """The batch of a step: stretches of different clips, as long as there are enough."""
        rng = np.random.default_rng((self.seed, step))
        names = list(self.sources)
        parts: list[Stretch] = []
        used: set[str] = set()
        attempts = 0
        while len(parts) < self.stage.clips:
            keys = self.sources[names[rng.choice(len(names), p=self.weight)]]
            key = keys[rng.integers(len(keys))]
            attempts += 1
            if key in used and attempts < 20 * self.stage.clips:
                continue
            part = cut(self.store[key], self.stage.frames, self.config, rng)
            if part is not None:
                parts.append(part)
                used.add(key)
        resting = parts[0].clip.prompts is not None

        def stack(arrays: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(arrays))

        return Batch(
            torch.empty(0) if resting else stack([p.clip.crops[p.frame] for p in parts]),
            torch.empty(0) if resting else stack([p.clip.geometry[p.frame] for p in parts]),
            stack([p.clip.valid[p.frame] for p in parts]),
            stack([p.audio for p in parts]),
            torch.tensor([p.trusted for p in parts]),
            parts[0].clip.margin,
            stack([p.prompts(rng) for p in parts]) if resting else None,
        )


@dataclass
class Stretch:
    """Frames of a clip, the audio that belongs to them, and whether the two are known to belong together."""

    clip: Clip
    frame: np.ndarray
    audio: np.ndarray
    trusted: bool

    def prompts(self, rng: np.random.Generator) -> np.ndarray:
        """[T, width] float32: the prompts of one of the views."""
        views = self.clip.prompts
        assert views is not None
        return views[rng.integers(len(views)), self.frame].astype(np.float32)


def cut(clip: Clip, frames: int, config: DataConfig, rng: np.random.Generator) -> Stretch | None:
    """A stretch of frames at a random speed, the clip's own offset removed; None where faces are missing."""
    length = len(clip)
    offset = int(clip.meta.get("offset", 0))
    speed = float(np.clip(np.exp(rng.normal(0, config.speed)), 0.85, 1.18))
    need = int(np.ceil(frames * speed)) + 1
    low, high = max(0, -offset), length - max(0, offset)
    if high - low < need:
        speed, need = 1.0, frames
    if high - low < need:
        offset, low, high = 0, 0, length
    start = int(rng.integers(low, high - need + 1))
    # audio frame k belongs to video frame k + offset (positive: the video lags)
    frame = np.clip(np.round(start + np.arange(frames) * speed).astype(int) + offset, 0, length - 1)
    if clip.valid[frame].mean() < 0.8:
        return None
    where = start * SAMPLES + np.arange(frames * SAMPLES) * speed
    audio = np.interp(where, np.arange(len(clip.audio)), clip.audio).astype(np.float32)
    confidence = float(clip.meta.get("offset_confidence", 1.0))
    trusted = clip.meta["sync"] == "trusted" or confidence >= config.min_offset_confidence
    return Stretch(clip, frame, audio, trusted)


class Prefetcher:
    """Draws the next batches on a thread of its own, so that decoding does not wait for the optimiser."""

    def __init__(self, sampler: Sampler, start: int, stop: int, ahead: int = 2) -> None:
        self._queue: Queue[Batch | BaseException] = Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(sampler, start, stop), daemon=True)
        self._thread.start()

    def _work(self, sampler: Sampler, start: int, stop: int) -> None:
        for step in range(start, stop):
            if self._stopped.is_set():
                return
            try:
                self._queue.put(sampler.batch(step))
            except BaseException as error:  # handed to the trainer, which raises it
                self._queue.put(error)
                return

    def next(self) -> Batch:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop drawing; the thread ends after the batch in hand."""
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
