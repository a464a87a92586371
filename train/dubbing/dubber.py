"""Wan VACE and AudioPack as one module, and its flow-matching loss: what DeepSpeed wants to see."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synclip_core.dubbing.audiopack import AudioPack
from synclip_core.dubbing.injection import embedding_of, guided, injected, on_latents
from synclip_core.dubbing.vace import CELL, EDITED, MOUTH, Codec, edit_mask, vace_context
from train.data.noise import Noise
from train.dubbing.config import DubbingConfig
from train.dubbing.windows import DubBatch

# Further losses by name: of the latents of the clean video, [B, 16, T', h, w], at noise levels [B]; see supervision.py.
Supervise = Callable[[Tensor, Tensor], dict[str, Tensor]]


@dataclass
class Segment:
    """clean: [B, 16, R + T', h, w], the references' latents and the video's; context: [B, 96, R + T', h, w]; weight:
    [1, 1, R + T', h, w] of the loss; tokens, valid: as DubBatch; references: R."""

    clean: Tensor
    context: Tensor
    weight: Tensor
    tokens: Tensor
    valid: Tensor
    references: int


@torch.no_grad()
def to_segment(batch: DubBatch, codec: Codec, device: torch.device) -> Segment:
    """Pictures to latents, weighted alike."""
    video = batch.video.to(device).float() / 255
    references = [part.to(device).float() / 255 for part in (batch.identity, batch.history) if part is not None]
    hole = edit_mask(video.shape[2], batch.margin).to(device)
    context = vace_context(codec, video, hole.expand(*video.shape[:2], -1, -1), references)
    clean = torch.cat([codec.encode(picture[:, None]) for picture in references] + [codec.encode(video)], 2)
    weight = torch.ones((1, 1, *clean.shape[2:]), device=device)
    return Segment(clean, context, weight, batch.tokens.to(device), batch.valid.to(device), len(references))


@torch.no_grad()
def to_lesson(batch: DubBatch, codec: Codec, config: DubbingConfig, noise: Noise, device: torch.device) -> Segment:
    """As `to_segment`, for training: with the weights of the loss and a continuity reference that is not perfect."""
    segment = to_segment(batch, codec, device)
    size, first = batch.video.shape[2], segment.references
    segment.weight.fill_(config.outside)
    for box, weight in ((EDITED, 1.0), (MOUTH, config.mouth)):
        inside = edit_mask(size, batch.margin, box)[::CELL, ::CELL] > 0
        segment.weight[:, :, first:, inside] = weight
    if batch.history is not None:
        spread = config.history_noise * noise.uniform(1, 1, 1)
        segment.context[:, :16, 1] += (spread * noise.normal(*segment.context[0, :16, 1].shape)).to(device)
    return segment


class Dubber(nn.Module):
    """transformer: diffusers' WanVACETransformer3DModel; prompt: [L, text_dim] of every sample, None for no text."""

    prompt: Tensor

    def __init__(self, transformer: nn.Module, pack: AudioPack, prompt: Tensor | None = None) -> None:
        super().__init__()
        self.transformer, self.pack = transformer, pack
        nothing = torch.zeros(1, transformer.config.text_dim)
        self.register_buffer("prompt", nothing if prompt is None else prompt, persistent=False)

    def velocity(self, noisy: Tensor, level: Tensor, segment: Segment) -> Tensor:
        """What the transformer says. noisy: as Segment.clean; level: [B], 0 clean .. 1 noise."""
        packed = self.pack(segment.tokens, segment.valid)
        control = on_latents(packed, noisy.shape[2], segment.references)
        with injected(embedding_of(self.transformer, self.pack.config.inject_at), control):
            return self.transformer(
                hidden_states=noisy,
                timestep=level * 1000,
                encoder_hidden_states=self.prompt.to(noisy).expand(len(noisy), -1, -1),
                control_hidden_states=segment.context,
                return_dict=False,
            )[0]

    def forward(
        self, segment: Segment, config: DubbingConfig, noise: Noise, supervise: Supervise | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rectified flow, as Wan: x = (1 - s) clean + s noise, the target is noise - clean. supervise: further losses,
        by what the clean video would be."""
        clean = segment.clean
        level = torch.sigmoid(noise.normal(1)[:, 0]).to(clean.device)  # as SD3: the middle is where it is hard
        level = config.shift * level / (1 + (config.shift - 1) * level)
        random = noise.normal(*clean.shape[1:]).to(clean)
        mix = level.view(-1, 1, 1, 1, 1)
        noisy = (1 - mix) * clean + mix * random
        said = self.velocity(noisy, level, segment).float()
        error = (said - (random - clean)).square()
        inside = segment.weight >= 1
        loss = (error * segment.weight).mean() / segment.weight.mean()
        told = {"hole": error[inside.expand_as(error)].mean().detach()}
        if supervise is not None:
            for name, value in supervise((noisy - mix * said)[:, :, segment.references :], level).items():
                loss = loss + getattr(config.losses, name) * value
                told[name] = value.detach()
        return loss, told


@torch.inference_mode()
def generate(dubber: Dubber, segment: Segment, steps: int, generator: torch.Generator, guidance: float = 1.0) -> Tensor:
    """Euler from noise to latents of the video, [B, 16, T', h, w]. guidance: of the tokens, 1 as they are."""
    x = torch.randn(segment.clean.shape, generator=generator).to(segment.clean)
    levels = torch.linspace(1, 0, steps + 1)
    silent = Segment(**{**vars(segment), "valid": torch.zeros_like(segment.valid)})
    for now, then in zip(levels, levels[1:], strict=False):
        level = now.expand(len(x)).to(x)
        said = dubber.velocity(x, level, segment)
        if guidance != 1:
            said = guided(dubber.velocity(x, level, silent), said, guidance)
        x = x + (then - now) * said
    return x[:, :, segment.references :]
