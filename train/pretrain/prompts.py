"""The vocal prompts of a whole split, computed once while the visual encoder rests (StageConfig.learn "alignment")."""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.faces.crop import model_frames
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import VOCAL
from train.data import augment
from train.data.clip import Clip
from train.data.noise import Draws, Noise
from train.data.pictures import degrade_frames
from train.data.sampling import ClipStore
from train.pretrain.config import AugmentConfig, StageConfig

BLOCK = 64  # frames encoded at once
PLAIN = AugmentConfig(0, 0, 0, 0, 0)


class PromptStore:
    """Clips without pictures, with `views` versions of their vocal prompts: the first plain, the others augmented."""

    def __init__(
        self, model: SyncLipMAE, store: ClipStore, stage: StageConfig, augmentation: AugmentConfig, seed: int
    ) -> None:
        self.meta = {key: meta for key, meta in store.meta.items() if meta["frames"] >= stage.frames}
        self._clips: dict[str, Clip] = {}
        for number, key in enumerate(tqdm(sorted(self.meta), desc="prompts", unit="clip")):
            clip = store[key]
            views = [
                clip_prompts(model, clip, augmentation if view else PLAIN, Noise.of(seed, view, [number]))
                for view in range(stage.views)
            ]
            self._clips[key] = Clip(
                key,
                np.empty(0),
                np.empty(0),
                clip.valid,
                clip.audio,
                clip.margin,
                clip.meta,
                torch.stack(views).half().cpu().numpy(),
            )

    def __getitem__(self, key: str) -> Clip:
        return self._clips[key]


@torch.inference_mode()
def clip_prompts(model: SyncLipMAE, clip: Clip, augmentation: AugmentConfig, noise: Draws) -> Tensor:
    """Vocal prompts of all frames, [T, width]; one draw of the augmentation for the whole clip."""
    shown = (torch.from_numpy(x) for x in (clip.crops, clip.geometry, clip.regions()))
    return prompts_of(model, *shown, clip.margin, augmentation, noise)


@torch.inference_mode()
def prompts_of(
    model: SyncLipMAE,
    crops: Tensor,
    geometry: Tensor,
    regions: Tensor,
    margin: float,
    augmentation: AugmentConfig,
    noise: Draws,
) -> Tensor:
    """crops: [T, S, S, 3] uint8; geometry: [T, 60, 2]; regions: [T, 5, 4]. Returns [T, width]."""
    device, size = model.logit_scale.device, model.config.visual.image_size
    images, _, regions = augment.geometric(
        crops[None], geometry[None], regions[None], margin, size, augmentation.geometric, noise
    )
    images = degrade_frames(augment.photometric(images, augmentation.photometric, noise), augmentation.degrade, noise)[
        0
    ]
    parts = [
        model.prompts(images[i : i + BLOCK].to(device), regions[0, i : i + BLOCK].to(device), identity=False)[:, VOCAL]
        for i in range(0, len(images), BLOCK)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def plain_prompts(
    model: SyncLipMAE, crops: Tensor, regions: Tensor, margin: float, identity: bool, block: int = BLOCK
) -> Tensor:
    """All prompts of frames as they are, [T, 3, width]. crops: [T, S, S, 3] uint8; regions: [T, 5, 4]; identity: see
    SyncLipMAE.prompts; block: frames encoded at once."""
    size = model.config.visual.image_size
    parts = [slice(i, i + block) for i in range(0, len(crops), block)]
    return torch.cat([model.prompts(model_frames(crops[p], size, margin), regions[p], identity) for p in parts])
