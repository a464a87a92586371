"""What a frozen speech encoder makes of each clip, computed once (DataConfig.heard)."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from synclip_core.models.layers import full_precision
from synclip_core.models.synclipmae import SyncLipMAE
from train.engine.kept import weights_key

from .noise import Noise
from .resident import ResidentClips
from .sampling import SAMPLES, number_of
from .sound import degrade_sound

VOICES = 2  # other clips that may talk in the background of a degraded version


def hear_all(
    model: SyncLipMAE, clips: ResidentClips, versions: int, strength: float, seed: int, folder: Path
) -> Tensor:
    """Layers of the front end of all clips end to end, float16 [versions, N, L * width]; the first version is clean.

    strength: of what the sound suffers in the others. A file a clip in `folder`, named by all that decides what is in
    it, so that a run that was stopped goes on.
    """
    frozen = weights_key(model.front_end)
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Tensor] = []
    others: list[np.ndarray] = []
    for key, (start, count) in tqdm(clips.place.items(), desc="hear", unit="clip", disable=None):
        sound = clips.audio[start * SAMPLES : (start + count) * SAMPLES].cpu().numpy()
        together = [sound, *others[::-1]]
        others = [*others[1 - VOICES :], sound]
        name = hashlib.sha256(f"{frozen} {key} {versions} {strength} {seed}".encode())
        for part in together:
            name.update(part.tobytes())
        path = folder / f"{name.hexdigest()[:32]}.safetensors"
        if path.exists():
            found.append(read_safetensors(path)[0]["rows"])
            continue
        waves = np.stack([np.resize(part, len(sound)) for part in together]).astype(np.float32) / 32767
        found.append(_heard(model, torch.from_numpy(waves), versions, strength, seed, key))
        save_safetensors(path, {"rows": found[-1]}, {})
    return torch.cat(found, 1).to(clips.crops.device)


@torch.inference_mode()
def _heard(model: SyncLipMAE, waves: Tensor, versions: int, strength: float, seed: int, key: str) -> Tensor:
    """[versions, T, L * width] of the first of the waves; the others may be heard behind it."""
    device = model.logit_scale.device
    rows = []
    for version in range(versions):
        wave = waves[:1]
        if version:
            noise = Noise.of(seed, version, [number_of(key) + place for place in range(len(waves))])
            wave = degrade_sound(waves, strength, noise)[:1]
        with full_precision(device):
            rows.append(model.adapter.joined(model.front_end(wave.to(device))).half().cpu())
    return torch.cat(rows)
