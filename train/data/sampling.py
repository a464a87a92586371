"""From shards to batches: which clip, which stretch of it, at which speed."""

import json
import sys
import threading
import time
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from train.pretrain.config import DataConfig, StageConfig

from .clip import Clip
from .shards import RATE, Stored, decode_sample, index_shard

SAMPLES = RATE // 25  # audio samples a frame
KNOWN = ("split", "sync", "subject", "source", "frames")  # of a sample before it is read


@dataclass
class Batch:
    """crops: [B, T, S, S, 3] uint8; geometry: [B, T, 60, 2] canonical; regions: [B, T, 5, 4] canonical boxes; valid:
    [B, T] bool; audio: [B, T * 640]; trusted: [B] bool, clips whose audio belongs to their video, so that they may take
    part in the contrast. clip, person: [B] numbers of the clip and of who is in it; frame: [B, T], places in the clip.
    prompts: [B, T, width] vocal prompts of a resting visual encoder; crops and geometry are then empty.
    slots: the clips' numbers in the whole batch of the step, of which other processes may hold the rest.
    heard: [B, T, F] what the frozen speech encoder made of the sound before (heard.py); None: it hears `audio`."""

    crops: Tensor
    geometry: Tensor
    regions: Tensor
    valid: Tensor
    audio: Tensor
    trusted: Tensor
    clip: Tensor
    person: Tensor
    frame: Tensor
    margin: float
    prompts: Tensor | None = None
    slots: tuple[int, ...] = ()
    heard: Tensor | None = None


class ClipSource(Protocol):
    """Clips by key, and what is known of each before it is read."""

    meta: dict[str, dict]

    def __getitem__(self, key: str) -> Clip: ...


class ClipStore:
    """All samples of a split, read from their shards when asked for; decoded ones are kept as `cache_gb` allows.

    Shards are read in any order, so they must lie on a disk, local or shared, not behind a pipe.
    """

    def __init__(
        self, folder: str | Path, split: str, cache_gb: float, holdout: int = 0, held_out: bool = False
    ) -> None:
        paths = sorted(Path(folder).glob("*.tar"))
        if not paths:
            raise SyncLipError(f"{folder}: no shards (*.tar) here; write them with python -m train.prepare")
        self.samples: dict[str, Stored] = {}
        self.meta: dict[str, dict] = {}
        for path in paths:
            for key, sample in index_shard(path).items():
                meta = read_meta(key, sample)
                if meta["split"] != split or held_out != is_held_out(meta, holdout):
                    continue
                if key in self.samples:  # two corpora may have a video of the same name
                    key = f"{path.stem}/{key}"
                self.samples[key] = sample
                self.meta[key] = meta
        if not self.samples:
            raise SyncLipError(f"{folder}: no sample of split {split!r}; prepare that split or name another")
        self._cache: OrderedDict[str, Clip] = OrderedDict()
        self._room = int(cache_gb * 2**30)

    def __getitem__(self, key: str) -> Clip:
        clip = self._cache.get(key)
        if clip is None:
            clip = decode_sample(key, self.samples[key].read())
            self._room -= clip.crops.nbytes
            self._cache[key] = clip
            while self._room < 0 and len(self._cache) > 1:
                self._room += self._cache.popitem(last=False)[1].crops.nbytes
        else:
            self._cache.move_to_end(key)
        return clip


def read_meta(key: str, sample: Stored) -> dict:
    """What is known of a sample. Raises SyncLipError where that is damaged or not all."""
    try:
        meta = json.loads(sample.read("json")["json"])
        if missing := [name for name in KNOWN if name not in meta]:
            raise ValueError(f"without {', '.join(missing)}")
    except (ValueError, TypeError) as error:
        raise SyncLipError(
            f"{sample.path}: damaged shard, sample {key} ({error}); delete it and run train.prepare again"
        ) from error
    return meta


def number_of(name: str) -> int:
    """The same number for the same name in every process."""
    return zlib.crc32(name.encode())


def is_held_out(meta: dict, holdout: int) -> bool:
    """One in `holdout` identities of unchecked sources, by a stable hash of the name."""
    return bool(holdout) and meta["sync"] != "trusted" and number_of(meta["subject"]) % holdout == 0


class Sampler:
    """Endless batches, reproducible from (seed, step): a resumed run draws what the unbroken one would have drawn.

    Which clip stands in which slot of a step's batch, and how it is cut, does not depend on who asks: processes that
    share a batch draw their slots of it and read nothing else.
    """

    def __init__(
        self, store: ClipSource, config: DataConfig, stage: StageConfig, seed: int, clips: int | None = None
    ) -> None:
        """clips: of a step over all processes; the stage's, if not given."""
        self.store, self.config, self.stage, self.seed = store, config, stage, seed
        self.clips = clips or stage.clips
        sources: dict[str, list[str]] = defaultdict(list)
        self.subjects: dict[str, list[str]] = defaultdict(list)
        hours: dict[str, float] = defaultdict(float)
        for key, meta in store.meta.items():
            if meta["frames"] < stage.frames:
                continue
            sources[meta["source"]].append(key)
            self.subjects[meta["subject"]].append(key)
            hours[meta["source"]] += meta["frames"]
        if not sources:
            raise SyncLipError(f"no sample is as long as a stage's frames = {stage.frames}; use a smaller number")
        self.sources = list(sources.values())
        weight = np.array([hours[source] for source in sources]) ** config.source_power
        self.weight = weight / weight.sum()
        self.refused: dict[str, str] = {}  # samples that could not be read, and why

    def batch(self, step: int, slots: Sequence[int] | None = None) -> Batch:
        """The batch of a step, or these slots of it.

        Raises SyncLipError where too few samples can be read.
        """
        slots = range(self.clips) if slots is None else slots
        keys = self.keys(step)
        parts = [self._stretch(keys[slot], np.random.default_rng((self.seed, step, slot))) for slot in slots]
        resting = parts[0].clip.prompts is not None

        def stack(arrays: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(arrays))

        return Batch(
            torch.empty(0) if resting else stack([p.clip.crops[p.frame] for p in parts]),
            torch.empty(0) if resting else stack([p.clip.geometry[p.frame] for p in parts]),
            torch.empty(0) if resting else stack([p.clip.regions()[p.frame] for p in parts]),
            stack([p.clip.valid[p.frame] for p in parts]),
            stack([p.audio for p in parts]),
            torch.tensor([p.trusted for p in parts]),
            torch.tensor([number_of(p.clip.key) for p in parts]),
            torch.tensor([number_of(p.clip.meta["subject"]) for p in parts]),
            stack([p.frame for p in parts]),
            parts[0].clip.margin,
            stack([p.prompts for p in parts]) if resting else None,
            tuple(slots),
        )

    def keys(self, step: int) -> list[str]:
        """The clips of all slots: different ones as long as there are enough, `clips_per_subject` of one subject on
        end (of a subject with fewer clips, the same ones again)."""
        rng = np.random.default_rng((self.seed, step))
        chosen: list[str] = []
        used: set[str] = set()
        together = self.config.clips_per_subject
        attempts = 0
        while len(chosen) < self.clips:
            key = self._any(rng)
            attempts += 1
            if key in used and attempts < 20 * self.clips:
                continue
            others = self.subjects[self.store.meta[key]["subject"]]
            fresh = [other for other in others if other != key and other not in used] if together > 1 else []
            beside = [fresh[k] for k in rng.permutation(len(fresh))[: together - 1].tolist()]
            beside += [key] * (together - 1 - len(beside))
            chosen += [key, *beside]
            used |= {key, *beside}
        return chosen[: self.clips]

    def _any(self, rng: np.random.Generator) -> str:
        keys = self.sources[rng.choice(len(self.sources), p=self.weight)]
        return keys[rng.integers(len(keys))]

    def _stretch(self, key: str, rng: np.random.Generator) -> "Stretch":
        """A cut of the clip, or of another where this one has no face for so long or cannot be read."""
        for _ in range(100):
            try:
                stretch = None if key in self.refused else cut(self.store[key], self.stage.frames, self.config, rng)
            except SyncLipError as error:
                self.refused[key] = str(error)
                tqdm.write(f"skipped: {error}", file=sys.stderr)
                stretch = None
            if stretch is not None:
                return stretch
            key = self._any(rng)
        reason = next(iter(self.refused.values()), "no stretch of them shows a face")
        raise SyncLipError(f"100 samples in a row are of no use; {reason}")


@dataclass
class Stretch:
    """Frames of a clip, the audio that belongs to them, and whether the two are known to belong together.

    prompts: float32 [T, width] of one of the views; empty where the clip has pictures.
    """

    clip: Clip
    frame: np.ndarray
    audio: np.ndarray
    trusted: bool
    prompts: np.ndarray


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
    views = clip.prompts
    prompts = np.empty(0) if views is None else views[rng.integers(len(views)), frame].astype(np.float32)
    return Stretch(clip, frame, audio, trusted, prompts)


class Prefetcher:
    """Draws the next batches on a thread of its own, so that decoding does not wait for the optimiser.

    asked: (step, slots) of each, in order. `waited` counts the seconds that the trainer stood still for them.
    """

    def __init__(self, sampler: Sampler, asked: Iterable[tuple[int, Sequence[int]]], ahead: int = 2) -> None:
        self.waited = 0.0
        self._queue: Queue[Batch | BaseException] = Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(sampler, asked), daemon=True)
        self._thread.start()

    def _work(self, sampler: Sampler, asked: Iterable[tuple[int, Sequence[int]]]) -> None:
        for step, slots in asked:
            if self._stopped.is_set():
                return
            try:
                self._queue.put(sampler.batch(step, slots))
            except BaseException as error:  # handed to the trainer, which raises it
                self._queue.put(error)
                return

    def next(self) -> Batch:
        began = time.monotonic()
        item = self._queue.get()
        self.waited += time.monotonic() - began
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop drawing; the thread ends after the batch in hand."""
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
