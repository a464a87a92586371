"""Losses on the decoded picture, each a switch (`losses` of the config): what SyncLipMAE and a lip reader make of it.

Both stand still; the gradient goes through them, and through the video VAE, into the transformer and the AudioPack.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from synclip_core.checkpoint import Checkpoint
from synclip_core.clock import FPS
from synclip_core.dubbing.vace import Codec, edit_mask
from synclip_core.errors import SyncLipError
from synclip_core.faces.crop import model_frames
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.models.visual_encoder import VOCAL
from synclip_core.reading.network import LipReader, hybrid_loss
from synclip_core.reading.reader_file import load_reader
from train.data.sampling import ClipStore
from train.data.texts import read_corpus, text_of
from train.dubbing.config import DubLossConfig
from train.dubbing.tokens import ClipTokens
from train.dubbing.windows import Cut, DubBatch
from train.reading.features import whole_videos

NEAR = 3  # frames; tokens nearer than that are neither a pair nor a negative
LEAST = 1e-4  # of a probability whose logarithm is taken


class Supervisor:
    """tokens: of the clips that batches are cut from, with their prompts; texts: key -> units of the reader, of the
    clips whose words are known and which the reader can read at once."""

    def __init__(
        self,
        losses: DubLossConfig,
        codec: Codec,
        model: SyncLipMAE,
        tokens: dict[str, ClipTokens],
        reader: LipReader | None = None,
        texts: dict[str, Tensor] | None = None,
    ) -> None:
        self.losses, self.codec, self.model, self.tokens = losses, codec, model, tokens
        self.reader, self.texts = reader, texts or {}

    def __call__(self, latents: Tensor, level: Tensor, batch: DubBatch) -> dict[str, Tensor]:
        """latents: [B, 16, T', h, w], the clean video as the transformer sees it at noise `level` [B]; rows with more
        noise than `losses.below` count as zero, for what is seen there is a blur. Returns the losses that are on."""
        losses, told = self.losses, dict[str, Tensor]()
        counts = (level <= losses.below).to(latents)
        frames = self.codec.decode(latents.float())
        if losses.reconstruction:
            hole = edit_mask(frames.shape[2], batch.margin).to(frames) > 0
            off = (frames - batch.video.to(frames) / 255).abs()[:, :, hole]
            told["reconstruction"] = (off.flatten(1).mean(1) * counts).mean()
        if losses.names == ("reconstruction",):
            return told
        prompts = self.prompts(frames, batch.margin, batch.cuts)
        made = [self.clip_tokens(cut, row) for cut, row in zip(batch.cuts, prompts, strict=True)]
        count = frames.shape[1]
        seen = torch.stack([row[cut.first : cut.first + count] for cut, row in zip(batch.cuts, made, strict=True)])
        driven, valid = self.driven(batch, count)
        if losses.sync:
            near = 1 - (seen * driven).sum(-1)
            told["sync"] = (_mean(near, valid) * counts).mean()
        if losses.contrastive:
            told["contrastive"] = (contrastive(seen, driven, valid, losses.temperature) * counts).mean()
        if losses.margin:
            keys = [cut.key for cut in batch.cuts]
            others = torch.tensor([a != b for a, b in zip(keys, keys[-1:] + keys[:-1], strict=True)])
            margins = losses.same_margin, losses.cross_margin
            told["margin"] = (margin(seen, driven, valid, others.to(valid.device), margins) * counts).mean()
        if losses.lip_reading:
            told["lip_reading"] = self.lip_reading(batch, made, counts)
        return told

    def prompts(self, frames: Tensor, room: float, cuts: Sequence[Cut]) -> Tensor:
        """Vocal prompts as inference would have them. frames: [B, T, S, S, 3] in 0..1, with `room` around the canonical
        square; cuts: where they were cut, so that the parts of the face are known. Returns [B, T, width]."""
        pictures = model_frames(frames.flatten(0, 1) * 255, self.model.config.visual.image_size, room)
        own = [self.tokens[cut.key].regions[cut.first : cut.first + frames.shape[1]] for cut in cuts]
        found = self.model.prompts(pictures, torch.cat(own).to(pictures), identity=False)
        return found[:, VOCAL].unflatten(0, frames.shape[:2])

    def clip_tokens(self, cut: Cut, prompts: Tensor) -> Tensor:
        """Vocal tokens of the whole clip with these frames in place of its own: [frames of the clip, D]."""
        held, head = self.tokens[cut.key], self.model.vocal
        own = held.prompts.to(prompts)
        seen = held.seen.to(prompts.device)
        middle = head.centered(own[None], seen[None])[0]
        if head.center:  # what the clip's mean was stays what it was
            prompts = prompts - own[seen].mean(0)
        end = cut.first + len(prompts)
        whole = torch.cat([middle[: cut.first], prompts, middle[end:]])[None]
        return normalise(head.along(whole, seen[None]))[0]

    def driven(self, batch: DubBatch, count: int) -> tuple[Tensor, Tensor]:
        """The tokens that drive the frames of the batch: [B, T, D], and which of them there are."""
        reach = (batch.tokens.shape[1] - count) // 2
        device = next(self.model.parameters()).device
        inside = slice(reach, reach + count)
        return batch.tokens[:, inside].to(device).float(), batch.valid[:, inside].to(device)

    def lip_reading(self, batch: DubBatch, made: list[Tensor], counts: Tensor) -> Tensor:
        """Cross entropy of what the clip says, read with the dubbed frames in it (SyncTalklip, equation 4).

        A mean over the batch, in which clips without a known text count as zero.
        """
        known = [row for row, cut in enumerate(batch.cuts) if cut.key in self.texts and counts[row] > 0]
        if not known or self.reader is None:
            return counts.new_zeros(())
        tokens = torch.nn.utils.rnn.pad_sequence([made[row] for row in known], batch_first=True)
        seen = [self.tokens[batch.cuts[row].key].seen for row in known]
        valid = torch.nn.utils.rnn.pad_sequence(seen, batch_first=True).to(tokens.device)
        texts = [self.texts[batch.cuts[row].key] for row in known]
        loss, _ = hybrid_loss(self.reader, tokens, valid, texts, ctc_weight=0.0, smoothing=0.0)
        return loss * len(known) / len(batch.cuts)


def contrastive(seen: Tensor, driven: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """L1 distance of each driving token to its own frame, less that to the other frames of the sample, [B]
    (SyncTalklip, equations 11 and 12). seen, driven: [B, T, D]; valid: bool [B, T]."""
    apart = temperature * torch.cdist(driven, seen, p=1)  # [B, T of the voice, T of the picture]
    own = apart.diagonal(dim1=1, dim2=2)
    others = (apart.sum(2) - own) / max(apart.shape[2] - 1, 1)
    return _mean(own - others, valid)


def margin(seen: Tensor, driven: Tensor, valid: Tensor, others: Tensor, margins: tuple[float, float]) -> Tensor:
    """UniSync's margin-based binary cross entropy, [B] (UniSync, equations 1 and 2, without the L2 term,
    which is the optimiser's weight decay).

    Negatives are frames of the same sample at least NEAR away, and the voice of the sample before, where it is another
    clip's (`others`, bool [B]); margins: of either.
    """
    alike = (driven @ seen.transpose(1, 2)).clamp_min(0)
    count = seen.shape[1]
    frame = torch.arange(count, device=seen.device)
    away = (frame[:, None] - frame).abs() >= NEAR
    positive = -alike.diagonal(dim1=1, dim2=2).clamp_min(LEAST).log()
    same = (_unlike(alike, margins[0]) * away).sum(2) / away.sum(1).clamp_min(1)
    crossed = (driven.roll(1, 0) * seen).sum(-1).clamp_min(0)
    cross = _unlike(crossed, margins[1]) * (valid.roll(1, 0) & others[:, None])
    return _mean(positive + same + cross, valid)


def _unlike(probability: Tensor, room: float) -> Tensor:
    return -(1 - (probability - room).clamp_min(0)).clamp_min(LEAST).log()


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """[B, T] -> [B], over the frames that count."""
    return (values * valid).sum(1) / valid.sum(1).clamp_min(1)


def open_supervisor(
    losses: DubLossConfig,
    codec: Codec,
    checkpoint: Checkpoint,
    store: ClipStore,
    tokens: dict[str, ClipTokens],
    device: torch.device,
) -> Supervisor | None:
    """Its networks move to `device`; None where all losses are off.

    Raises SyncLipError where the lip-reading loss finds no reader or no text.
    """
    if not losses.names:
        return None
    model = checkpoint.model.requires_grad_(False).to(device)
    if not losses.lip_reading:
        return Supervisor(losses, codec, model, tokens)
    reader = load_reader(losses.reader or None)
    reader.check(checkpoint.sha256)
    units = reader.network.config.units
    if any(len(unit) > 1 for unit in units):
        raise SyncLipError("losses.reader: writes pieces of words; the lip-reading loss needs one that writes letters")
    texts, corpus = {}, read_corpus(losses.texts, losses.layout)
    for key in whole_videos(store.meta.items()):
        spoken = text_of(corpus, store.meta[key]["file"])
        short = store.meta[key]["frames"] <= reader.network.config.window_s * FPS
        if spoken is not None and short and set(spoken.text) <= set(units):
            texts[key] = torch.tensor([1 + units.index(letter) for letter in spoken.text])
    if not texts:
        raise SyncLipError(f"losses.texts: {losses.texts} knows of no clip of these shards what it says")
    return Supervisor(losses, codec, model, tokens, reader.network.requires_grad_(False).to(device), texts)
