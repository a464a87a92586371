"""What learns to read: the reader, and behind it as much of SyncLipMAE as the config lets learn."""

import numpy as np
import torch
from torch import Tensor, nn

from synclip_core.models.masking import inference_keep
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.models.visual_encoder import VOCAL
from synclip_core.reading.network import LipReader, hybrid_loss
from train.data import augment
from train.data.noise import Noise
from train.pretrain.config import AugmentConfig
from train.pretrain.objective.views import motion_keep
from train.pretrain.prompts import BLOCK, PLAIN
from train.reading.batches import VsrBatch, plain_tokens
from train.reading.config import AlignConfig, VsrTrainConfig
from train.reading.features import Utterance


class Student(nn.Module):
    """The reader; the vocal head, which rests unless the config says otherwise; the visual encoder, where pictures
    come instead of its prompts; with `align` the audio branch too (AV-SyncNet, SyncTalklip, section 3.2)."""

    def __init__(self, model: SyncLipMAE, reader: LipReader, config: VsrTrainConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = reader
        self.head = model.vocal.requires_grad_(config.unfreeze != "none")
        self.eyes = Eyes(model) if config.unfreeze == "encoder" else None
        self.listener = Listener(model, config.align) if config.align.loss != "none" else None

    def forward(self, batch: VsrBatch, noise: Noise) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts for the log. noise: of the pictures' augmentation."""
        config = self.config
        tokens = self.tokens(batch.look, batch.valid, batch.margin, noise)
        if batch.heard is not None:
            spoken = batch.heard.any(-1, keepdim=True).any(1, keepdim=True)
            tokens = torch.where(spoken, normalise(batch.heard), tokens)
        if config.data.person:
            tokens = tokens + config.data.person * self.elsewhere(tokens, noise)
        tokens = tokens * ~batch.hidden[..., None]
        loss, parts = hybrid_loss(
            self.reader, tokens, batch.valid, batch.texts, config.ctc_weight, config.smoothing, batch.times
        )
        if self.listener is not None:
            shown = self.tokens(batch.shown, batch.shown_valid, batch.margin, noise)
            distance = self.listener(batch.audio, shown, batch.shown_valid)
            loss = loss + config.align.weight * config.align.tau * distance
            parts["align"] = distance.detach()
        return loss, parts

    @staticmethod
    def elsewhere(tokens: Tensor, noise: Noise) -> Tensor:
        """[B, 1, dim]: of each example one draw, with the deviation of the batch's tokens."""
        return noise.normal(1, tokens.shape[-1]).to(tokens) * tokens.detach().std((0, 1))

    def tokens(self, look: Tensor, valid: Tensor, margin: float, noise: Noise) -> Tensor:
        """VsrBatch.look -> vocal tokens [B, T, dim]."""
        if self.eyes is not None:
            look = self.head.centered(self.eyes(look, margin, self.config.augment, noise), valid)
        return normalise(self.head.along(look, valid))

    @torch.inference_mode()
    def plain_tokens(self, utterance: Utterance) -> np.ndarray:
        """Vocal tokens float32 [T, dim] of a clip as it is, as inference gives them."""
        if self.eyes is None:
            return plain_tokens(self.head, utterance)
        assert utterance.crops is not None
        crops = torch.from_numpy(utterance.crops())[None]
        parts = [self.eyes(crops[:, i : i + BLOCK], utterance.margin, PLAIN) for i in range(0, len(utterance), BLOCK)]
        valid = torch.from_numpy(utterance.valid)[None]
        return normalise(self.head.along(self.head.centered(torch.cat(parts, 1), valid), valid))[0].numpy()


class Eyes(nn.Module):
    """Face crops -> vocal prompts, through the visual encoder's bypass 2."""

    odds: Tensor

    def __init__(self, model: SyncLipMAE) -> None:
        super().__init__()
        self.visual = model.visual.requires_grad_(True)
        self.visual.pos_embed.requires_grad_(False)
        self.register_buffer("odds", model.odds(), persistent=False)  # of the usual face: no landmarks at hand

    def forward(self, crops: Tensor, margin: float, jitter: AugmentConfig, noise: Noise | None = None) -> Tensor:
        """crops: [B, T, S, S, 3] uint8 with `margin` around the face. Without noise as inference sees them.

        Returns [B, T, width].
        """
        config, shape = self.visual.config, crops.shape[:2]
        drawn = noise or Noise(range(len(crops)))
        no_geometry, no_regions = torch.zeros(*shape, 60, 2), torch.zeros(*shape, 5, 4)
        images, _, _ = augment.geometric(
            crops, no_geometry, no_regions, margin, config.image_size, jitter.geometric, drawn
        )
        images = augment.photometric(images, jitter.photometric, drawn).flatten(0, 1)
        if noise is None:
            # a model of uniform views alone sees all patches
            best = None if config.bypasses == "uniform" else inference_keep(self.odds, config.face_mask_ratio)
            keep = None if best is None else best.expand(len(images), -1)
        else:
            keep = motion_keep(config, self.odds, shape[1], noise).to(crops.device)
        prompts = self.visual(images, keep)[1]
        return prompts[:, VOCAL].unflatten(0, shape)


class Listener(nn.Module):
    """L1 distance of the audio and vocal tokens of each tick (SyncTalklip, equation 5)."""

    def __init__(self, model: SyncLipMAE, config: AlignConfig) -> None:
        super().__init__()
        self.front_end = model.front_end.requires_grad_(False)
        self.adapter = model.hearing.requires_grad_(config.audio == "tuned")
        self.audio_tokens = model.audio_tokens
        dim = model.config.dim
        # one for both streams: what it hides from one it hides from the other
        self.before = nn.Conv1d(dim, dim, 3, padding=1) if config.loss == "conv" else nn.Identity()

    def forward(self, audio: Tensor, vocal: Tensor, valid: Tensor) -> Tensor:
        """audio: [B, T * 640], 16 kHz; vocal: [B, T, dim]; valid: [B, T] bool. Mean over ticks and entries."""
        heard = normalise(self.audio_tokens(audio))
        apart = (self.before(heard.mT) - self.before(vocal.mT)).abs().mean(1)
        return apart[valid].mean()
