"""SyncLipMAE: visual encoder, audio branch and decoder as one model (SyncLipMAE, section 3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .audio.encoder import AudioAdapter
from .audio.mel import MelFrontEnd
from .audio.speech import speech_front_end
from .config import TICK, SyncLipMAEConfig
from .decoder import Decoder
from .layers import TemporalBlock
from .masking import WHOLE_FACE, face_importance, inference_keep, mouth_importance, template_regions
from .visual_encoder import AMBIENT, IDENTITY, VisualEncoder


class VocalHead(nn.Module):
    """Vocal prompt of each frame -> vocal-motion token; see VocalConfig for what it adds to the paper."""

    def __init__(self, config: SyncLipMAEConfig, *, ops: Any = nn) -> None:
        super().__init__()
        vocal, width = config.vocal, config.visual.width
        self.center = vocal.center
        self.reach = config.reach(context=False)[0]
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

    def along(self, centered: Tensor, valid: Tensor | None = None) -> Tensor:
        """As `forward`, of a whole clip: what lies beyond its ends is `held`."""
        return self(held(centered, self.reach))[:, self.reach : self.reach + centered.shape[1]]


class ContextHead(nn.Module):
    """One stream of the temporal branch (ContextConfig): what a tick shows or sounds like, with its neighbours."""

    center = False  # `centered` and `along`: as VocalHead has them

    def __init__(self, features: int, config: SyncLipMAEConfig, *, ops: Any = nn) -> None:
        super().__init__()
        context = config.context
        self.embed = ops.Linear(features, context.width)
        self.blocks = nn.ModuleList(TemporalBlock(context.width, context.kernel, ops=ops) for _ in range(context.depth))
        self.proj = ops.Linear(context.width, config.dim)
        self.norm = ops.LayerNorm(config.dim)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """x: [B, T, features]; seen: [B, T] bool, ticks where the stream is known. Returns [B, T, dim]."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(self.proj(x))

    def centered(self, prompts: Tensor, valid: Tensor | None = None) -> Tensor:
        return prompts

    def along(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        return self(x, seen)


class SyncLipMAE(nn.Module):
    """All parts. The pretraining objective on top of them is train/pretrain/objective."""

    importance: Tensor
    template: Tensor

    def __init__(self, config: SyncLipMAEConfig, *, ops: Any = nn) -> None:
        super().__init__()
        self.config = config
        self.visual = VisualEncoder(config.visual, ops=ops)
        width, dim = config.visual.width, config.dim
        self.identity_proj = ops.Linear(width, dim)
        self.ambient_proj = ops.Linear(width, dim)
        self.vocal_head = VocalHead(config, ops=ops)
        self.front_end = speech_front_end(config, ops=ops)
        self.adapter = AudioAdapter(config.audio, config.dim, ops=ops)
        if config.context.depth:
            self.vocal_context = ContextHead(width, config, ops=ops)
            self.audio_context = ContextHead(config.audio.features, config, ops=ops)
        self.decoder = Decoder(
            config.decoder, config.visual.width, config.dim, self.visual.grid, config.visual.patch_size, ops=ops
        )
        self.logit_scale = nn.Parameter(torch.tensor(2.659))  # ln(1 / 0.07), CLIP's start
        if config.context.depth:
            self.context_scale = nn.Parameter(torch.tensor(2.659))
        if config.geometry_points:
            self.geometry_head = ops.Linear(config.visual.width, 2 * config.geometry_points)
        self.register_buffer("importance", mouth_importance(*self.visual.grid), persistent=False)
        self.register_buffer("template", template_regions(), persistent=False)

    @property
    def has_context(self) -> bool:
        """Is there a temporal branch beside the single-frame tokens?"""
        return self.config.context.depth > 0

    @property
    def vocal(self) -> VocalHead | ContextHead:
        """What makes the vocal tokens that everybody compares: of the temporal branch where there is one."""
        return self.vocal_context if self.has_context else self.vocal_head

    @property
    def hearing(self) -> AudioAdapter | ContextHead:
        """As `vocal`, of the audio tokens."""
        return self.audio_context if self.has_context else self.adapter

    # ---- tokens -------------------------------------------------------------------------------------------------

    def prompts(self, frames: Tensor, regions: Tensor | None = None, identity: bool = True) -> Tensor:
        """The three prompts of each frame as inference sees them.

        Vocal and ambient come from the face-preserving view: the patches that bypass 2 keeps most often. Identity comes
        from all patches, as a MAE is used after training on uniformly masked ones (bypass 1); it costs a second pass.

        frames: [N, 3, H, W], 0..1; regions: [N, 5, 4] of these frames (media.geometry.REGIONS), None: where a face's
        parts usually are; identity: False saves the second pass, and the identity prompt is that of the first.
        Returns [N, 3, width].
        """
        config = self.config.visual
        if config.bypasses == "uniform":  # a model of uniform views alone sees all patches
            return self.visual(frames)[1]
        seen = self.visual(frames, self.keep(len(frames), regions))[1]
        if config.view == "mouth" or not identity:
            return seen
        whole = self.visual(frames)[1]
        return torch.cat([whole[:, IDENTITY : IDENTITY + 1], seen[:, IDENTITY + 1 :]], 1)

    def keep(self, frames: int, regions: Tensor | None = None) -> Tensor:
        """[frames, V] patches of the face-preserving view at inference; regions: see `prompts`."""
        ratio = self.config.visual.face_mask_ratio
        if self.config.visual.view == "face":  # the whole face, however little of it training showed at a time
            ratio = min(ratio, WHOLE_FACE)
        return inference_keep(self.odds(regions), ratio).expand(frames, -1)

    def odds(self, regions: Tensor | None = None) -> Tensor:
        """[N or 1, patches]: how much each patch matters to bypass 2."""
        if self.config.visual.view == "mouth":
            return self.importance.float()[None]
        return face_importance((self.template if regions is None else regions).float(), self.visual.grid)

    def identity_tokens(self, prompts: Tensor) -> Tensor:
        """prompts: [B, T, 3, width] -> [B, T, dim]."""
        return self.identity_proj(prompts[..., IDENTITY, :])

    def ambient_tokens(self, prompts: Tensor) -> Tensor:
        """prompts: [B, T, 3, width] -> [B, T, dim]."""
        return self.ambient_proj(prompts[..., AMBIENT, :])

    def vocal_tokens(self, prompts: Tensor, valid: Tensor | None = None, context: bool = True) -> Tensor:
        """prompts: [B, T, width], vocal prompts of one clip a row; valid: [B, T] bool, frames with a face.

        context: of the temporal branch where there is one; False: of single frames. Returns [B, T, dim], not yet
        normalised.
        """
        head = self.vocal if context else self.vocal_head
        return head.along(head.centered(prompts, valid), valid)

    def audio_tokens(self, waveform: Tensor, context: bool = True) -> Tensor:
        """waveform: [B, N], 16 kHz mono, N = T * 640. Returns [B, T, dim], not yet normalised; context: as above."""
        if context and self.has_context:
            return self.heard(self.front_end(waveform), context)
        reach, ticks = self.config.reach(context=False)[1], waveform.shape[-1] // TICK
        padded = F.pad(waveform, (reach * TICK, reach * TICK))
        if isinstance(self.front_end, MelFrontEnd):  # its statistics are those of the clip alone
            log_mel, rows = self.front_end.log_mel(padded), self.front_end.sub_frames
            statistics = self.front_end.statistics([log_mel[..., reach * rows : (reach + ticks) * rows]])
            layers = self.front_end.layers(statistics.applied(log_mel))
        else:
            layers = self.front_end(padded)
        return self.heard(layers, context)[:, reach : reach + ticks]

    def heard(self, layers: list[Tensor], context: bool = True) -> Tensor:
        """layers of the front end, [B, T, width] each -> audio tokens [B, T, dim], not yet normalised."""
        if context and self.has_context:
            return self.audio_context(self.adapter.joined(layers))
        return self.adapter(layers)

    # ---- one training pass --------------------------------------------------------------------------------------

    def decode(self, patches: Tensor, keep: Tensor, identity: Tensor, ambient: Tensor, condition: Tensor) -> Tensor:
        """See Decoder.forward."""
        return self.decoder(patches, keep, identity, ambient, condition)


def held(x: Tensor, ticks: int) -> Tensor:
    """[B, T, C] -> [B, T + 2 * ticks, C], the first and the last row repeated.

    For vocal heads that look along the clip by themselves (VocalConfig.context_depth): padding of zeros is a mark that
    an end is near, and as the audio adapter had it at the same ends, "both end here" counted as in sync. A mouth that
    holds still beside silence (see `audio_tokens`) is nothing that the two streams share.
    """
    if not ticks:
        return x
    return torch.cat([x[:, :1].expand(-1, ticks, -1), x, x[:, -1:].expand(-1, ticks, -1)], 1)


def normalise(tokens: Tensor) -> Tensor:
    """L2-normalised tokens: what distances and the contrastive loss compare."""
    return F.normalize(tokens, dim=-1)
