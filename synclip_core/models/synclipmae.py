"""SyncLipMAE: visual encoder, audio branch and decoder as one model (papers/synclipmae.txt, section 3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .audio_encoder import AudioAdapter
from .config import SyncLipMAEConfig
from .decoder import Decoder
from .layers import TemporalBlock
from .masking import face_importance, inference_keep
from .speech import speech_front_end
from .visual_encoder import AMBIENT, IDENTITY, VOCAL, VisualEncoder


class VocalHead(nn.Module):
    """Vocal prompt of each frame -> vocal-motion token; see VocalConfig for what it adds to the paper."""

    def __init__(self, config: SyncLipMAEConfig, *, ops: Any = nn) -> None:
        super().__init__()
        vocal, width = config.vocal, config.visual.width
        self.center = vocal.center
        inner = vocal.context_width or width
        self.embed = ops.Linear(width, inner) if vocal.context_depth else nn.Identity()
        self.blocks = nn.ModuleList(
            TemporalBlock(inner, vocal.context_kernel, ops=ops) for _ in range(vocal.context_depth)
        )
        self.proj = ops.Linear(inner if vocal.context_depth else width, config.dim)
        self.norm = ops.LayerNorm(config.dim)

    def centered(self, prompts: Tensor, valid: Tensor | None = None) -> Tensor:
        """Subtract the clip's mean prompt. prompts: [B, T, width]; valid: [B, T] bool, frames that count."""
        if not self.center:
            return prompts
        if valid is None:
            return prompts - prompts.mean(1, keepdim=True)
        weight = valid[..., None].to(prompts)
        mean = (prompts * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
        return (prompts - mean) * weight

    def forward(self, centered: Tensor) -> Tensor:
        """[B, T, width] centered prompts -> [B, T, dim] vocal-motion tokens."""
        x = self.embed(centered)
        for block in self.blocks:
            x = block(x)
        return self.norm(self.proj(x))


class SyncLipMAE(nn.Module):
    """The model. `ops` supplies the weighted layers (torch.nn, or comfy.ops in nodes)."""

    importance: Tensor

    def __init__(self, config: SyncLipMAEConfig, *, ops: Any = nn) -> None:
        super().__init__()
        self.config = config
        self.visual = VisualEncoder(config.visual, ops=ops)
        self.identity_proj = ops.Linear(config.visual.width, config.dim)
        self.ambient_proj = ops.Linear(config.visual.width, config.dim)
        self.vocal_head = VocalHead(config, ops=ops)
        self.front_end = speech_front_end(config, ops=ops)
        self.adapter = AudioAdapter(config.audio, config.dim, ops=ops)
        self.decoder = Decoder(
            config.decoder, config.visual.width, config.dim, self.visual.grid, config.visual.patch_size, ops=ops
        )
        self.logit_scale = nn.Parameter(torch.tensor(2.659))  # ln(1 / 0.07), CLIP's start
        if config.geometry_points:
            self.geometry_head = ops.Linear(config.visual.width, 2 * config.geometry_points)
        self.register_buffer("importance", face_importance(*self.visual.grid), persistent=False)

    # ---- tokens -------------------------------------------------------------------------------------------------

    def prompts(self, frames: Tensor) -> Tensor:
        """The three prompts of each frame as inference sees them: the patches that bypass 2 keeps most often.

        frames: [N, 3, H, W], 0..1. Returns [N, 3, width].
        """
        return inference_prompts(self.visual, self.importance, frames)

    def identity_tokens(self, prompts: Tensor) -> Tensor:
        """prompts: [B, T, 3, width] -> [B, T, dim]."""
        return self.identity_proj(prompts[..., IDENTITY, :])

    def ambient_tokens(self, prompts: Tensor) -> Tensor:
        """prompts: [B, T, 3, width] -> [B, T, dim]."""
        return self.ambient_proj(prompts[..., AMBIENT, :])

    def vocal_tokens(self, prompts: Tensor, valid: Tensor | None = None) -> Tensor:
        """prompts: [B, T, 3, width] of one clip a row; valid: [B, T] bool. Returns [B, T, dim], not yet normalised."""
        return self.vocal_head(self.vocal_head.centered(prompts[..., VOCAL, :], valid))

    def audio_tokens(self, waveform: Tensor) -> Tensor:
        """waveform: [B, N], 16 kHz mono, N = T * 640. Returns [B, T, dim], not yet normalised."""
        return self.adapter(self.front_end(waveform))

    # ---- one training pass --------------------------------------------------------------------------------------

    def decode(self, patches: Tensor, keep: Tensor, identity: Tensor, ambient: Tensor, condition: Tensor) -> Tensor:
        """See Decoder.forward."""
        return self.decoder(patches, keep, identity, ambient, condition)


def inference_prompts(visual: VisualEncoder, importance: Tensor, frames: Tensor) -> Tensor:
    """See SyncLipMAE.prompts. A model of uniform views alone sees all patches, as a MAE does."""
    config = visual.config
    if config.bypasses == "uniform":
        return visual(frames)[1]
    keep = inference_keep(importance.float().cpu(), config.face_mask_ratio).to(frames.device)
    return visual(frames, keep.expand(frames.shape[0], -1))[1]


def normalise(tokens: Tensor) -> Tensor:
    """L2-normalised tokens: what distances and the contrastive loss compare."""
    return F.normalize(tokens, dim=-1)
