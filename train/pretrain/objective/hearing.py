"""What the audio branch hears of a batch."""

import torch
from torch import Tensor

from synclip_core.models.audio.mel import MelFrontEnd
from synclip_core.models.layers import full_precision
from synclip_core.models.synclipmae import SyncLipMAE
from train.data import augment
from train.data.noise import Draws
from train.data.sampling import Batch
from train.data.sound import degrade_sound
from train.pretrain.config import AugmentConfig


def listen(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Draws) -> tuple[list[Tensor], Tensor]:
    """Layers of the front end, [B, T, width] each, and the features [B, T, F] whose self-similarity widens the positive
    set."""
    device = model.logit_scale.device
    if batch.heard is not None:
        layers = list(batch.heard.to(device).float().chunk(model.config.audio.depth, -1))
        return layers, layers[-1]
    waveform = batch.audio.to(device)
    with full_precision(waveform.device):
        waveform = degrade_sound(waveform, augmentation.sound, noise)
    if isinstance(model.front_end, MelFrontEnd):
        log_mel = augment.mel(model.front_end.log_mel(waveform), augmentation.mel, noise)
        layers = model.front_end.layers(model.front_end.normalise(log_mel))
    else:
        layers = model.front_end(waveform)
    sound = torch.cat(layers, -1) if len(layers) <= 4 else layers[-1]
    return layers, sound.detach()
