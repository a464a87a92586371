"""Lip reading from vocal-motion tokens (SyncLipMAE, section 4.3): Conformer encoder, CTC branch, Transformer
decoder.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files.settings import Depth, Kernel, Positive, Share, Size
from .conformer import ConformerBlock, positions

BLANK = 0  # class of the CTC branch; the decoder's start and end of a text share it


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes that a training run chooses."""

    width: Size = 128
    heads: Size = 4
    layers: Depth = 3
    kernel: Kernel = 15
    decoder_layers: Depth = 2
    # rows of the CTC branch a tick: it needs more rows than letters, and fast speech has 15 a second
    upsample: Size = 2
    dropout: Share = 0.1

    def fault(self) -> str | None:
        if self.width % self.heads:
            return f"width is {self.width}; expected a multiple of heads {self.heads}"
        return None


@dataclass(frozen=True)
class VsrConfig(ReaderConfig):
    """units: what is written, one class each, after the blank: characters, or pieces with "▁" before a word.

    dim: of the vocal tokens; window_s: the longest stretch that the reader was trained on and reads at once.
    """

    units: tuple[str, ...] = tuple(" abcdefghijklmnopqrstuvwxyz'")
    dim: Size = 128
    ratio: Size = 4
    window_s: Positive = 6.0

    @property
    def classes(self) -> int:
        return len(self.units) + 1


class LipReader(nn.Module):
    """Vocal tokens in, log probabilities of units out, by two branches that share the encoder."""

    def __init__(self, config: VsrConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed = nn.Linear(config.dim, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(width, config.heads, config.kernel, config.ratio, config.dropout)
            for _ in range(config.layers)
        )
        self.ctc = nn.Linear(width, config.upsample * config.classes)
        self.letters = nn.Embedding(config.classes, width)
        layer = nn.TransformerDecoderLayer(
            width, config.heads, config.ratio * width, config.dropout, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, config.decoder_layers, nn.LayerNorm(width))
        self.next = nn.Linear(width, config.classes)

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """tokens: [B, T, dim], L2-normalised vocal tokens; valid: [B, T] bool, ticks of the clip with a face.

        Returns hidden [B, T, width].
        """
        scaled = tokens * (valid[..., None] * self.config.dim**0.5)  # entries of order one
        x = self.norm(self.embed(scaled))
        x = self.dropout(x + positions(x.shape[1], x.shape[2], x))
        for block in self.blocks:
            x = block(x, valid)
        return x

    def ctc_log_probs(self, hidden: Tensor) -> Tensor:
        """[B, T, width] -> [B, T * upsample, classes]."""
        return self.ctc(hidden).unflatten(-1, (self.config.upsample, -1)).flatten(1, 2).log_softmax(-1)

    def next_log_probs(self, hidden: Tensor, valid: Tensor, before: Tensor) -> Tensor:
        """Of the unit that follows each prefix of `before` [B, L], which begins with BLANK. Returns [B, L, classes]."""
        length = before.shape[1]
        x = self.letters(before) + positions(length, self.config.width, hidden)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        x = self.decoder(x, hidden, tgt_mask=causal, tgt_is_causal=True, memory_key_padding_mask=~valid)
        return self.next(x).log_softmax(-1)


def hybrid_loss(
    reader: LipReader,
    tokens: Tensor,
    valid: Tensor,
    texts: list[Tensor],
    ctc_weight: float = 0.3,
    smoothing: float = 0.1,
    times: list[Tensor | None] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """ctc_weight * CTC + (1 - ctc_weight) * cross entropy of the decoder under teacher forcing (section 4.3).

    texts: of each clip its units, int64 [L], without BLANK. Means over clips and over units.
    times: of each unit the ticks between which it is said, float [L, 2], or None where nobody knows. Attention lets CTC
    name a word long before it is said; with times a path pays for that, so that word times can be read off it later
    (constrained alignment, Sak et al. 2015).
    """
    hidden = reader.encode(tokens, valid)
    device, rows = hidden.device, valid.repeat_interleave(reader.config.upsample, 1)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    # CTC reads rows as a sequence, so those without a face are closed up
    log_probs = reader.ctc_log_probs(hidden)
    if times is not None:
        log_probs = log_probs - _FINE * _out_of_time(log_probs, texts, times, reader.config.upsample)
    kept = [row[seen] for row, seen in zip(log_probs, rows, strict=True)]
    stacked = nn.utils.rnn.pad_sequence(kept)
    ctc = F.ctc_loss(
        stacked.float(),
        torch.cat(texts).to(device),
        rows.sum(1),
        lengths,
        blank=BLANK,
        zero_infinity=True,
    )
    end = torch.full((1,), BLANK, device=device)
    before = nn.utils.rnn.pad_sequence([torch.cat([end, t.to(device)]) for t in texts], batch_first=True)
    after = nn.utils.rnn.pad_sequence(
        [torch.cat([t.to(device), end]) for t in texts], batch_first=True, padding_value=-100
    )
    follow = reader.next_log_probs(hidden, valid, before)
    spread = -follow.mean(-1)[after >= 0].mean()
    exact = F.nll_loss(follow.flatten(0, 1), after.flatten(), ignore_index=-100)
    attention = (1 - smoothing) * exact + smoothing * spread
    return ctc_weight * ctc + (1 - ctc_weight) * attention, {"ctc": ctc.detach(), "attention": exact.detach()}


_FINE = 12.0  # nats a row; not forbidden, or a text with wrong times could not be learned at all
_SLACK = 2.0  # ticks: people mark the times of words by ear


def _out_of_time(log_probs: Tensor, texts: list[Tensor], times: list[Tensor | None], upsample: int) -> Tensor:
    """[B, R, classes]: 1 where a class is none of the units said around that row."""
    fined = torch.zeros_like(log_probs)
    tick = torch.arange(log_probs.shape[1], device=log_probs.device) / upsample
    for row, text, when in zip(fined, texts, times, strict=True):
        if when is None:
            continue
        span = when.to(tick)
        said = (tick[:, None] >= span[:, 0] - _SLACK) & (tick[:, None] <= span[:, 1] + _SLACK)  # [R, L]
        row[:, 1:] = 1.0
        for number, unit in enumerate(text.tolist()):
            row[:, unit] -= row[:, unit] * said[:, number]
    return fined
