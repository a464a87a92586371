"""Audio and vocal tokens of every clip of a split, made once for a checkpoint and kept on disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from synclip_core.checkpoint import Checkpoint
from synclip_core.files.atomic import atomic_path
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from train.data.clip import Clip
from train.data.noise import Noise
from train.data.sampling import ClipStore
from train.engine import distributed
from train.engine.kept import content_key
from train.pretrain.prompts import PLAIN, clip_prompts

KEPT = ("audio", "vocal", "seen", "heard", "prompts", "regions")


@dataclass(frozen=True)
class ClipTokens:
    """audio, vocal: float16 [T, D], one a video frame, normalised; seen: bool [T], frames whose face was seen; heard:
    bool [T], frames whose sound is in the file. The clip's own offset is taken off the audio. prompts: float16 [T,
    width], the vocal prompts that the vocal tokens were made of; regions: float16 [T, 5, 4], see Clip."""

    audio: Tensor
    vocal: Tensor
    seen: Tensor
    heard: Tensor
    prompts: Tensor
    regions: Tensor


def load_tokens(checkpoint: Checkpoint, store: ClipStore, cache: Path) -> dict[str, ClipTokens]:
    """Of all clips, by key. Those in `cache` already, made of the same clip, are read from there; processes share the
    others."""
    folder = cache / checkpoint.sha256[:12]
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        key: folder / f"{key.replace('/', '_')}-{content_key(store, key)}.safetensors" for key in sorted(store.meta)
    }
    mine = list(paths)[distributed.rank() :: distributed.size()]
    for key in tqdm(mine, desc="tokens", unit="clip", leave=False, disable=None):
        if _read(paths[key]) is None:
            with atomic_path(paths[key]) as temporary:
                temporary.write_bytes(save(dict(vars(clip_tokens(checkpoint.model, store[key])))))
    distributed.wait()
    found = {key: _read(path) for key, path in paths.items()}
    return {key: held for key, held in found.items() if held is not None}


def _read(path: Path) -> ClipTokens | None:
    """None where it is not there yet, or damaged."""
    try:
        kept = load_file(path) if path.is_file() else {}
        return ClipTokens(*(kept[name] for name in KEPT))
    except (OSError, SafetensorError, KeyError):
        return None


@torch.inference_mode()
def clip_tokens(model: SyncLipMAE, clip: Clip) -> ClipTokens:
    """The tokens that inference would give: plain pictures, the whole clip at once."""
    seen = torch.from_numpy(clip.valid)
    prompts = clip_prompts(model, clip, PLAIN, Noise([0]))[None]
    vocal = normalise(model.vocal_tokens(prompts, seen[None].to(prompts.device)))[0].half().cpu()
    audio = normalise(model.audio_tokens(torch.from_numpy(clip.audio)[None].to(prompts.device)))[0].half().cpu()
    # audio frame k belongs to video frame k + offset (positive: the video lags)
    place = np.arange(len(clip)) - int(clip.meta.get("offset", 0))
    heard = torch.from_numpy((place >= 0) & (place < len(audio)))
    audio = audio[torch.from_numpy(place.clip(0, len(audio) - 1))].contiguous()
    regions = torch.from_numpy(clip.regions()).half()
    return ClipTokens(audio, vocal, seen, heard, prompts[0].half().cpu(), regions)
