"""All clips of a split in the memory of a device, and batches that are made there (DataConfig.resident)."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.metrics.distance import best_lag, curve_confidence, distance_curve
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.models.visual_encoder import VOCAL
from train.pretrain.config import AugmentConfig, DataConfig, StageConfig
from train.pretrain.prompts import PLAIN, plain_prompts, prompts_of
from train.pretrain.validation import without_ends

from .clip import Clip
from .noise import Noise
from .sampling import SAMPLES, Batch, ClipStore, Sampler, number_of
from .shards import decode_sample

READERS = 16  # threads that decode side by side while the clips are loaded


class ResidentClips:
    """Every sample of a store, end to end: crops [N, S, S, 3] uint8, geometry [N, 60, 2], regions [N, 5, 4], valid [N],
    audio [N * 640] int16. `place`: first frame and length of each. Samples that cannot be read are in `refused`."""

    def __init__(self, store: ClipStore, device: str) -> None:
        self.refused: dict[str, str] = {}
        self.place: dict[str, tuple[int, int]] = {}
        crops, geometry, regions, valid, audio = [], [], [], [], []
        first = 0

        def read(key: str) -> tuple[str, Clip | None]:
            try:
                return key, decode_sample(key, store.samples[key].read())
            except SyncLipError as error:
                self.refused[key] = str(error)
                return key, None

        with ThreadPoolExecutor(READERS) as pool:
            for key, clip in tqdm(pool.map(read, store.meta), total=len(store.meta), desc="load", unit="clip"):
                if clip is None:
                    continue
                self.place[key] = first, len(clip)
                first += len(clip)
                crops.append(torch.from_numpy(clip.crops).to(device))
                geometry.append(torch.from_numpy(clip.geometry).half().to(device))
                regions.append(torch.from_numpy(clip.regions()).half().to(device))
                valid.append(torch.from_numpy(clip.valid).to(device))
                audio.append((torch.from_numpy(clip.audio) * 32767).round().short().to(device))
                self.margin = clip.margin
        if not self.place:
            raise SyncLipError(f"no sample can be read; {next(iter(self.refused.values()), 'the split is empty')}")
        self.meta = {key: dict(store.meta[key]) for key in self.place}
        self.heard: Tensor | None = None  # float16 [versions, N, F], see heard.py
        self.prompts: Tensor | None = None  # float16 [views, N, width], see resident_prompts
        self.crops, self.geometry, self.regions = torch.cat(crops), torch.cat(geometry), torch.cat(regions)
        self.valid, self.audio = torch.cat(valid), torch.cat(audio)


class ResidentSampler:
    """As `Sampler`, on the device: clips are chosen as there, where they are cut by one generator a step. A stretch
    with a missing face stays; its frames do not count (Batch.valid)."""

    def __init__(self, clips: ResidentClips, config: DataConfig, stage: StageConfig, seed: int, count: int) -> None:
        self.clips, self.config, self.stage, self.seed = clips, config, stage, seed
        self.chooser = Sampler(clips, config, stage, seed, count)  # type: ignore[arg-type]
        self.refused, self.device = clips.refused, clips.crops.device

    def batch(self, step: int, slots: Sequence[int] | None = None) -> Batch:
        """The whole batch of a step; slots are those of the one process that holds the clips."""
        clips, frames = self.clips, self.stage.frames
        keys = self.chooser.keys(step)
        meta = [clips.meta[key] for key in keys]
        rng = np.random.default_rng((self.seed, step, 1))
        start, count = np.array([clips.place[key] for key in keys]).T
        offset = np.array([int(m.get("offset", 0)) for m in meta])
        speed = np.exp(rng.normal(0, self.config.speed, len(keys))).clip(0.85, 1.18)
        low, high = np.maximum(0, -offset), count - np.maximum(0, offset)
        speed = np.where(high - low < np.ceil(frames * speed) + 1, 1.0, speed)
        short = high - low < frames
        offset, low, high = np.where(short, 0, offset), np.where(short, 0, low), np.where(short, count, high)
        room = high - low - np.ceil((frames - 1) * speed).astype(int)
        begin = low + np.floor(rng.random(len(keys)) * np.maximum(room, 1)).astype(int)
        # audio frame k belongs to video frame k + offset (positive: the video lags)
        tick = np.round(begin[:, None] + np.arange(frames) * speed[:, None]).astype(int)
        tick = np.clip(tick + offset[:, None], 0, count[:, None] - 1)
        trusted = [
            m["sync"] == "trusted" or float(m.get("offset_confidence", 1.0)) >= self.config.min_offset_confidence
            for m in meta
        ]
        place, nothing, prompts = self._tensor(start[:, None] + tick), torch.empty(0), None
        if clips.prompts is not None:
            prompts = clips.prompts[self._tensor(rng.integers(len(clips.prompts), size=(len(keys), 1))), place].float()
        resting = prompts is not None
        return Batch(
            nothing if resting else clips.crops[place],
            nothing if resting else clips.geometry[place].float(),
            nothing if resting else clips.regions[place].float(),
            clips.valid[place],
            self._sound(self._tensor(start), self._tensor(count), self._tensor(begin), self._tensor(speed)),
            self._tensor(np.array(trusted)),
            self._tensor(np.array([number_of(key) for key in keys])),
            self._tensor(np.array([number_of(m["subject"]) for m in meta])),
            self._tensor(tick),
            clips.margin,
            prompts,
            slots=tuple(range(len(keys))),
            heard=self._heard(start, count, begin, speed, rng),
        )

    def _sound(self, start: Tensor, count: Tensor, begin: Tensor, speed: Tensor) -> Tensor:
        """[B, T * 640] float32, read at the speed of the picture."""
        last = (count * SAMPLES - 1)[:, None]
        at = torch.arange(self.stage.frames * SAMPLES, device=self.device)[None] * speed[:, None]
        at = (at + (begin * SAMPLES)[:, None]).clamp(max=last)
        low = at.long()
        base, after = (start * SAMPLES)[:, None], torch.minimum(low + 1, last)
        sound = self.clips.audio
        return torch.lerp(sound[base + low].float(), sound[base + after].float(), (at - low).float()) / 32767

    def _heard(
        self, start: np.ndarray, count: np.ndarray, begin: np.ndarray, speed: np.ndarray, rng: np.random.Generator
    ) -> Tensor | None:
        """One version of each clip's rows, the nearest row to each tick: the tempo is another, the voice its own."""
        rows = self.clips.heard
        if rows is None:
            return None
        tick = np.round(begin[:, None] + np.arange(self.stage.frames) * speed[:, None]).astype(int)
        place = self._tensor(start[:, None] + np.clip(tick, 0, count[:, None] - 1))
        return rows[self._tensor(rng.integers(len(rows), size=(len(start), 1))), place]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


def resident_prompts(
    model: SyncLipMAE, clips: ResidentClips, stage: StageConfig, augmentation: AugmentConfig, seed: int
) -> Tensor:
    """Vocal prompts of all clips while the visual encoder rests, as PromptStore: float16 [views, N, width]."""
    found = []
    for key, (first, count) in tqdm(clips.place.items(), desc="prompts", unit="clip"):
        part = slice(first, first + count)
        shown = (clips.crops[part], clips.geometry[part].float(), clips.regions[part].float())
        views = [
            prompts_of(
                model, *shown, clips.margin, augmentation if view else PLAIN, Noise.of(seed, view, [number_of(key)])
            )
            for view in range(stage.views)
        ]
        found.append(torch.stack(views).half())
    return torch.cat(found, 1)


@torch.inference_mode()
def refresh_offsets(
    model: SyncLipMAE, clips: ResidentClips, trusted: int = 60, needed: float = 0.8
) -> dict[str, float]:
    """Estimate each unchecked video's own offset with the model as it is and write it into `clips.meta`.

    A model that does not find lag 0 in a share `needed` of `trusted` clips of known sync changes nothing: its guesses
    would take every video out of the contrast. Returns that share, how many videos there are, how many moved, how many
    are clear.
    """
    known = [key for key in clips.place if clips.meta[key]["sync"] == "trusted"]
    asked = known[:: max(1, len(known) // trusted)]
    lags = [best_lag(curve) for curve in (_curve(model, clips, key) for key in asked) if curve is not None]
    right = float(np.mean([lag is not None and abs(lag) <= 1 for lag in lags])) if lags else 0.0
    if right < needed:
        return {"right": right}
    curves: dict[str, list[tuple[np.ndarray, int]]] = defaultdict(list)
    for key in clips.place:
        curve = None if clips.meta[key]["sync"] == "trusted" else _curve(model, clips, key)
        if curve is not None:
            curves[clips.meta[key]["file"]].append((curve, clips.place[key][1]))
    found: dict[str, tuple[int, float]] = {}
    for file, own in curves.items():
        curve = np.average([c for c, _ in own], axis=0, weights=[n for _, n in own])
        found[file] = best_lag(curve) or 0, float(curve_confidence(curve))
    moved = {m["file"] for m in clips.meta.values() if m["file"] in found and m.get("offset", 0) != found[m["file"]][0]}
    for meta in clips.meta.values():
        if meta["file"] in found:
            meta["offset"], meta["offset_confidence"] = found[meta["file"]]
    clear = sum(confidence >= 0.05 for _, confidence in found.values())
    return {"right": right, "videos": float(len(found)), "moved": float(len(moved)), "clear": float(clear)}


def _curve(model: SyncLipMAE, clips: ResidentClips, key: str) -> np.ndarray | None:
    """The distance curve of a clip from ticks whose context lies inside; None where there are too few."""
    device, reach = model.logit_scale.device, max(model.config.reach())
    start, count = clips.place[key]
    if count < 2 * reach + 40:
        return None
    crops, regions = clips.crops[start : start + count], clips.regions[start : start + count].float()
    prompts = plain_prompts(model, crops, regions, clips.margin, identity=False, block=512)[:, VOCAL]
    valid = clips.valid[start : start + count]
    sound = clips.audio[start * SAMPLES : (start + count) * SAMPLES].float()[None] / 32767
    vocal = normalise(model.vocal_tokens(prompts[None], valid[None].to(device)))[0]
    audio = normalise(model.audio_tokens(sound))[0]
    inner = without_ends(valid.cpu().numpy(), reach)
    curve = distance_curve(audio.float().cpu().numpy(), vocal.float().cpu().numpy(), valid=inner)
    return curve if np.isfinite(curve).all() else None
