"""Vocal prompts of a corpus, computed once a visual encoder and kept on disk: the visual encoder rests while reading is
learned."""

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tqdm import tqdm

from synclip_core.checkpoint import Checkpoint
from synclip_core.files.atomic import atomic_path
from synclip_core.models.synclipmae import normalise
from train.data.noise import Noise
from train.data.sampling import ClipStore
from train.data.texts import Spoken, text_of
from train.engine.kept import content_key, prompts_key
from train.pretrain.config import AugmentConfig
from train.pretrain.prompts import PLAIN, clip_prompts


@dataclass
class Utterance:
    """prompts: float16 [views, T, width], the first view plain; valid: bool [T]; audio: float16 [T * 640].

    crops: where the visual encoder learns, gives uint8 [T, S, S, 3] with `margin` around the face; no prompts then.
    heard: float16 [T, dim], its audio tokens, where they were asked for.
    """

    key: str
    file: str
    spoken: Spoken
    prompts: np.ndarray
    valid: np.ndarray
    audio: np.ndarray
    crops: Callable[[], np.ndarray] | None = None
    margin: float = 0.0
    heard: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.valid)


def load_utterances(
    checkpoint: Checkpoint,
    shards: str | Path,
    split: str,
    corpus: dict[str, Spoken],
    views: int,
    cache: Path,
    augment: AugmentConfig | None = None,
    heard: bool = False,
) -> list[Utterance]:
    """Every sample of a split that is a whole video with a text. Those in `cache` already, made of the
    same pictures and sound, are read from there. heard: with their audio tokens."""
    store = ClipStore(shards, split, 0.0)
    whole = whole_videos(store.meta.items())
    found = []
    cache.mkdir(parents=True, exist_ok=True)
    for key in tqdm(sorted(whole), desc=f"features, {split}", unit="clip", leave=False, disable=None):
        file = store.meta[key]["file"]
        spoken = text_of(corpus, file)
        if spoken is None or not spoken.text:
            continue
        jitter = augment or AugmentConfig()
        made_of = content_key(store, key, views, jitter)
        path = cache / f"{prompts_key(checkpoint.model)}-{views}" / f"{key}-{made_of}.safetensors"
        parts = _read(path)
        if parts is None:
            clip = store[key]
            noise = Noise([zlib.crc32(key.encode())])
            drawn = [
                clip_prompts(checkpoint.model, clip, jitter if view else PLAIN, noise).half().cpu().numpy()
                for view in range(views)
            ]
            parts = {
                "prompts": np.stack(drawn),
                "valid": clip.valid.astype(np.uint8),
                "audio": clip.audio.astype(np.float16),
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(save(parts, {"file": json.dumps(file)}))
        own = Utterance(key, file, spoken, parts["prompts"], parts["valid"].astype(bool), parts["audio"])
        found.append(replace(own, heard=audio_tokens(checkpoint, own.audio)) if heard else own)
    return found


@torch.inference_mode()
def audio_tokens(checkpoint: Checkpoint, audio: np.ndarray) -> np.ndarray:
    """audio: [T * 640], 16 kHz. Returns float16 [T, dim], L2-normalised."""
    tokens = checkpoint.model.audio_tokens(torch.from_numpy(audio.astype(np.float32))[None])
    return normalise(tokens)[0].half().cpu().numpy()


def load_crops(shards: str | Path, split: str, corpus: dict[str, Spoken], cache_gb: float) -> list[Utterance]:
    """As load_utterances, with pictures instead of prompts; they are decoded when asked for."""
    store = ClipStore(shards, split, cache_gb)
    found = []
    for key in tqdm(
        sorted(whole_videos(store.meta.items())), desc=f"clips, {split}", unit="clip", leave=False, disable=None
    ):
        file = store.meta[key]["file"]
        spoken = text_of(corpus, file)
        if spoken is None or not spoken.text:
            continue
        clip = store[key]
        parts = (np.empty(0), clip.valid, clip.audio.astype(np.float16))
        found.append(Utterance(key, file, spoken, *parts, partial(_crops, store, key), clip.margin))
    return found


def _crops(store: ClipStore, key: str) -> np.ndarray:
    return store[key].crops


def whole_videos(samples: Iterable[tuple[str, dict]]) -> list[str]:
    """Samples that hold all of their video: a text belongs to a whole video."""
    by_file: dict[str, list[str]] = {}
    for key, meta in samples:
        by_file.setdefault(meta["file"], []).append(key)
    return [keys[0] for keys in by_file.values() if len(keys) == 1]


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        return load_file(path) if path.is_file() else None
    except (SafetensorError, OSError):  # damaged: made again
        return None
