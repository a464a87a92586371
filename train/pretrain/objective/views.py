"""What the motion view (bypass 2) shows, and whose identity a decoder is given (SyncLipMAE, sections 3.2 and 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from synclip_core.models.config import VisualConfig
from synclip_core.models.layers import full_precision
from synclip_core.models.masking import face_preserving_keep, uniform_keep
from synclip_core.models.synclipmae import SyncLipMAE
from train.data import augment
from train.data.noise import Draws
from train.data.pictures import degrade_frames
from train.data.sampling import Batch
from train.pretrain.config import AugmentConfig


class View(NamedTuple):
    """images: [B, T, 3, H, W] before the jitter; geometry: [B, T, 60, 2]; odds: [B, T, P] of each patch to be kept;
    keep: [B, T, V] patches that were seen; patches: [B, T, V, width] and prompts: [B, T, 3, width] of the jittered
    images."""

    images: Tensor
    geometry: Tensor
    odds: Tensor
    keep: Tensor
    patches: Tensor
    prompts: Tensor


def bypass_2(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Draws) -> View:
    """The motion view of all frames; of a model with a single view, that one (VisualConfig.bypasses).

    Both bypasses see one canonical square. The jitter is for this one only; a single view must be restored, so it gets
    none.
    """
    config, device = model.config.visual, model.logit_scale.device
    with full_precision(device):  # positions and pixels
        images, geometry, regions = augment.geometric(
            batch.crops.to(device),
            batch.geometry.to(device),
            batch.regions.to(device),
            batch.margin,
            config.image_size,
            augmentation.geometric,
            noise,
        )
        jittered = images
        if config.bypasses == "both":
            jittered = augment.photometric(images, augmentation.photometric, noise)
            jittered = degrade_frames(jittered, augmentation.degrade, noise)
        shape = batch.valid.shape
        odds = model.odds(regions.flatten(0, 1)).expand(shape.numel(), -1)
    keep = motion_keep(config, odds, shape[1], noise)
    patches, prompts = model.visual(jittered.flatten(0, 1), keep)
    return View(images, geometry, *(x.unflatten(0, shape) for x in (odds, keep, patches, prompts)))


def motion_keep(config: VisualConfig, odds: Tensor, frames: int, noise: Draws) -> Tensor:
    """[B * frames, V]: the patches that the motion view of each frame sees. odds: [B * frames or 1, P]."""
    hidden = noise.uniform(frames, odds.shape[1]).flatten(0, 1).to(odds)
    if config.bypasses == "uniform":
        return uniform_keep(hidden, config.mask_ratio)
    return face_preserving_keep(hidden, odds, config.face_mask_ratio)


def shuffle_identity(identity: Tensor, together: int, share: float, noise: Draws) -> Tensor:
    """Permute identity tokens among the frames of one subject: same person, other motion. identity: [B, R, dim].

    together: clips of one subject that stand side by side; share: of the subjects to whom it happens.
    """
    grouped = identity.unflatten(0, (-1, together)).flatten(1, 2)
    orders, coins = noise.order(grouped.shape[1])[::together], noise.uniform(1)[::together]
    order = torch.where(coins < share, orders, torch.arange(grouped.shape[1], device=orders.device)).to(identity.device)
    return grouped.gather(1, order[..., None].expand_as(grouped)).view_as(identity)
