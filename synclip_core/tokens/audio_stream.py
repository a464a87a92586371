"""Audio tokens of any length in flat memory: the waveform passes by in blocks, only features stay."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.audio.local_whisper import LocalWhisper
from ..models.audio.mel import FLOOR, HOP, MelFrontEnd
from ..models.audio.whisper import WhisperFrontEnd
from ..models.config import TICK
from ..models.synclipmae import SyncLipMAE

CONTEXT = 25  # ticks of sound that a block brings along on each side
SPAN = 1500  # ticks that go through the adapter or the vocal head at once


def with_context(blocks: Iterable[np.ndarray], ticks: int = CONTEXT) -> Iterator[np.ndarray]:
    """Blocks of whole ticks, each grown by `ticks` ticks of its neighbours (silence at both ends of the clip)."""
    margin = ticks * TICK
    before = np.zeros(margin, np.float32)
    held: np.ndarray | None = None
    for block in blocks:
        # a neighbour shorter than the margin is joined to the block before it
        if held is not None and len(block) < margin:
            held = np.concatenate([held, block])
            continue
        if held is not None:
            yield np.concatenate([before, held, block[:margin]])
            before = np.concatenate([before, held])[-margin:]
        held = block
    if held is not None:
        yield np.concatenate([before, held, np.zeros(margin, np.float32)])


def in_spans(step: Callable[[Tensor], Tensor], x: Tensor, context: int, span: int = SPAN) -> Tensor:
    """`step` on [1, T, C] piece by piece; equal to one call while it looks at most `context` ticks to each side."""
    length = x.shape[1]
    if length <= span:
        return step(x)
    parts = []
    for start in range(0, length, span):
        stop = min(start + span, length)
        left, right = max(0, start - context), min(length, stop + context)
        parts.append(step(x[:, left:right])[:, start - left : stop - left])
    return torch.cat(parts, 1)


def adapted(model: SyncLipMAE, rows: Tensor, context: bool = True) -> Tensor:
    """rows: the layers side by side, [1, T, features of all layers]. Returns audio tokens [1, T, dim], not yet
    normalised; context: see SyncLipMAE.audio_tokens."""
    reach = model.config.reach(context)[1]
    return in_spans(lambda x: model.heard(list(x.tensor_split(model.config.audio.depth, -1)), context), rows, reach)


class Rolling:
    """`step` on [1, T, C] of which pieces come one after another: equal to one call on the whole while it looks at most
    `reach` ticks to each side. What was looked at is let go."""

    def __init__(self, step: Callable[[Tensor], Tensor], reach: int, span: int = SPAN) -> None:
        self.step, self.reach, self.span = step, reach, span
        self._held: Tensor | None = None
        self._done = 0  # ticks of what is held that have been answered

    def push(self, x: Tensor) -> Iterator[Tensor]:
        """x: [1, n, C]. Yields what can be answered by now, `span` ticks at a time."""
        self._held = x if self._held is None else torch.cat([self._held, x], 1)
        while self._held.shape[1] - self._done >= self.span + self.reach:
            yield self._answer(self._held, self.span)

    def finish(self) -> Iterator[Tensor]:
        """Yields the rest."""
        while self._held is not None and self._held.shape[1] > self._done:
            yield self._answer(self._held, min(self.span, self._held.shape[1] - self._done))

    def _answer(self, held: Tensor, count: int) -> Tensor:
        stop = self._done + count
        out = self.step(held[:, : stop + self.reach])[:, self._done : stop]
        self._done = min(stop, self.reach)
        self._held = held[:, stop - self._done :].clone()
        return out.clone()  # a view would keep what `step` made beside it


class AudioTokenStream:
    """push() blocks of `with_context`, then finish().

    A Whisper says how far it looks: its sound is a stream of its own, and the tokens are those of the whole clip at
    once. Other speech encoders see what context a block brings. The mel front end waits for the clip's statistics.
    """

    def __init__(self, model: SyncLipMAE, context: bool = True) -> None:
        self.model, self.context = model, context
        self._parts: list[Tensor] = []
        self._before: Tensor | None = None  # log-mel of the silence around the clip
        self._after: Tensor | None = None
        front_end, depth = model.front_end, model.config.audio.depth
        self._streams = self._begun = False
        self._silence = 0 if context and model.has_context else model.config.reach(context=False)[1]
        if isinstance(front_end, LocalWhisper | WhisperFrontEnd):
            self._streams = True
            span = front_end.piece if isinstance(front_end, WhisperFrontEnd) else SPAN
            self._rows = Rolling(lambda wave: torch.cat(front_end(wave.flatten(1)), -1), front_end.reach, span)
            self._tokens = Rolling(
                lambda rows: model.heard(list(rows.tensor_split(depth, -1)), context), model.config.reach(context)[1]
            )

    @torch.inference_mode()
    def push(self, piece: np.ndarray) -> None:
        """piece: float32 [(CONTEXT + n + CONTEXT) * 640], 16 kHz mono."""
        device = self.model.logit_scale.device
        wave = torch.from_numpy(piece)[None].to(device)
        front_end = self.model.front_end
        if isinstance(front_end, MelFrontEnd):
            edge, log_mel = CONTEXT * TICK // HOP, front_end.log_mel(wave)
            self._parts.append(log_mel[..., edge:-edge].clone())  # a view would keep the context
            self._before = log_mel[..., :edge].clone() if self._before is None else self._before
            self._after = log_mel[..., -edge:].clone()
        elif self._streams:
            sound = wave.unflatten(1, (-1, TICK))[:, CONTEXT:-CONTEXT]
            if not self._begun:  # beyond both ends there is silence, as in SyncLipMAE.audio_tokens
                sound, self._begun = torch.cat([sound.new_zeros(1, self._silence, TICK), sound], 1), True
            self._hear(sound)
        else:
            self._parts.append(self.model.heard(front_end(wave), self.context)[:, CONTEXT:-CONTEXT].clone())

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Audio tokens [T, dim], not yet normalised."""
        model, front_end = self.model, self.model.front_end
        if self._streams:
            self._hear(model.logit_scale.new_zeros(1, self._silence, TICK))
            for rows in self._rows.finish():
                self._parts += self._tokens.push(rows)
            self._parts += self._tokens.finish()
            tokens = torch.cat(self._parts, 1)[0]
            return tokens[self._silence : len(tokens) - self._silence]
        if not isinstance(front_end, MelFrontEnd):
            return torch.cat(self._parts, 1)[0]
        statistics = front_end.statistics(self._parts)
        ticks = [part.shape[2] // front_end.sub_frames for part in self._parts]
        reach = self._silence
        if reach and self._before is not None and self._after is not None:  # beyond both ends there is silence
            count = reach * front_end.sub_frames
            more = max(0, count - self._before.shape[2])
            before = F.pad(self._before, (more, 0), value=math.log(FLOOR))[..., -count:]
            after = F.pad(self._after, (0, more), value=math.log(FLOOR))[..., :count]
            self._parts, ticks = [before, *self._parts, after], [reach, *ticks, reach]
        rows = self._parts[0].new_empty(1, sum(ticks), front_end.sub_frames * self._parts[0].shape[1])
        for place in rows.split(ticks, 1):  # a part is let go as its rows are made: a long clip is large here
            place.copy_(torch.cat(front_end.layers(statistics.applied(self._parts.pop(0))), -1))
        tokens = adapted(model, rows, self.context)[0]
        return tokens[reach : len(tokens) - reach]

    def _hear(self, sound: Tensor) -> None:
        """sound: [1, n, TICK] of a stream, the next ticks of it."""
        for rows in self._rows.push(sound):
            self._parts += self._tokens.push(rows)
