"""Audio tokens of any length in flat memory: the waveform passes by in blocks, only features stay."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class AudioTokenStreams:
    """Tokens of several kinds of one sound, which the front end hears once: push() blocks of `with_context`, then
    finish().

    kinds: for each, SyncLipMAE.audio_tokens' `context`. A Whisper says how far it looks: its sound is a stream of its
    own, and the tokens are those of the whole clip at once. Other speech encoders see what context a block brings. The
    mel front end waits for the clip's statistics.
    """

    def __init__(self, model: SyncLipMAE, kinds: Sequence[bool] = (False, True)) -> None:
        self.model = model
        front_end = model.front_end
        whole = isinstance(front_end, MelFrontEnd | LocalWhisper | WhisperFrontEnd)
        self._kinds = [_Kind(model, context, _silence(model, context) if whole else 0) for context in kinds]
        self._front: _MelParts | _WholeSound | _Blocks
        if isinstance(front_end, MelFrontEnd):
            self._front = _MelParts(front_end)
        elif isinstance(front_end, LocalWhisper | WhisperFrontEnd):
            self._front = _WholeSound(front_end, self._kinds)
        else:
            self._front = _Blocks(front_end)

    @torch.inference_mode()
    def push(self, piece: np.ndarray) -> None:
        """piece: float32 [(CONTEXT + n + CONTEXT) * 640], 16 kHz mono."""
        self._front.push(torch.from_numpy(piece)[None].to(self.model.logit_scale.device), self._kinds)

    @torch.inference_mode()
    def finish(self) -> list[Tensor]:
        """Audio tokens [T, dim] of each kind, not yet normalised."""
        self._front.finish(self._kinds)
        return [kind.finish() for kind in self._kinds]


class AudioTokenStream:
    """`AudioTokenStreams` of one kind."""

    def __init__(self, model: SyncLipMAE, context: bool = True) -> None:
        self._streams = AudioTokenStreams(model, (context,))

    def push(self, piece: np.ndarray) -> None:
        """piece: float32 [(CONTEXT + n + CONTEXT) * 640], 16 kHz mono."""
        self._streams.push(piece)

    def finish(self) -> Tensor:
        """Audio tokens [T, dim], not yet normalised."""
        return self._streams.finish()[0]


def _silence(model: SyncLipMAE, context: bool) -> int:
    """Ticks of silence around a clip, as in SyncLipMAE.audio_tokens."""
    return 0 if context and model.has_context else model.config.reach(context=False)[1]


class _Kind:
    """From rows of the front end to tokens of one kind. silence: ticks of it around the clip, which get no tokens."""

    def __init__(self, model: SyncLipMAE, context: bool, silence: int) -> None:
        self.model, self.context, self.silence = model, context, silence
        depth = model.config.audio.depth
        self.parts: list[Tensor] = []
        self._tokens = Rolling(
            lambda rows: model.heard(list(rows.tensor_split(depth, -1)), context), model.config.reach(context)[1]
        )

    def push(self, rows: Tensor) -> None:
        """rows: [1, n, features of all layers], the next ones of the clip with `silence` around it."""
        self.parts += self._tokens.push(rows)

    def finish(self) -> Tensor:
        """[T, dim]."""
        tokens = torch.cat([*self.parts, *self._tokens.finish()], 1)[0]
        return tokens[self.silence : len(tokens) - self.silence]


class _Blocks:
    """A speech encoder that sees a block and the context which it brings; so do the tokens made of it."""

    def __init__(self, front_end: nn.Module) -> None:
        self.front_end = front_end

    def push(self, wave: Tensor, kinds: Sequence[_Kind]) -> None:
        layers = self.front_end(wave)
        for kind in kinds:
            kind.parts.append(kind.model.heard(layers, kind.context)[:, CONTEXT:-CONTEXT].clone())

    def finish(self, kinds: Sequence[_Kind]) -> None:
        """Every block was answered when it came."""


class _WholeSound:
    """A Whisper, heard along the whole sound. A banded one hears digital silence as it hears an end, so that kinds with
    different silence around the clip share its rows; the published one cuts pieces of 30 s from the silence on."""

    def __init__(self, front_end: LocalWhisper | WhisperFrontEnd, kinds: Sequence[_Kind]) -> None:
        published = isinstance(front_end, WhisperFrontEnd)
        span = front_end.piece if isinstance(front_end, WhisperFrontEnd) else SPAN
        most = max(kind.silence for kind in kinds)
        self._kinds: dict[int, list[_Kind]] = {}  # by the silence that is heard for them
        for kind in kinds:
            self._kinds.setdefault(kind.silence if published else most, []).append(kind)

        def hear(sound: Tensor) -> Tensor:
            return torch.cat(front_end(sound.flatten(1)), -1)

        self._rows = {silence: Rolling(hear, front_end.reach, span) for silence in self._kinds}
        self._given = dict.fromkeys(self._rows, 0)  # rows that came out
        self._ticks = 0  # of the clip

    def push(self, wave: Tensor, kinds: Sequence[_Kind]) -> None:
        sound = wave.unflatten(1, (-1, TICK))[:, CONTEXT:-CONTEXT]
        for silence in self._rows:
            begins = [sound.new_zeros(1, silence, TICK)] if not self._ticks else []
            self._hear(silence, torch.cat([*begins, sound], 1))
        self._ticks += sound.shape[1]

    def finish(self, kinds: Sequence[_Kind]) -> None:
        for silence, rolling in self._rows.items():
            scale = kinds[0].model.logit_scale
            self._hear(silence, scale.new_zeros(1, silence, TICK), self._ticks)
            for rows in rolling.finish():
                self._give(silence, rows, self._ticks)

    def _hear(self, silence: int, sound: Tensor, ticks: int | None = None) -> None:
        for rows in self._rows[silence].push(sound):
            self._give(silence, rows, ticks)

    def _give(self, silence: int, rows: Tensor, ticks: int | None) -> None:
        """To each kind those with its own silence around. ticks: of the clip, where its end is known."""
        first = self._given[silence]
        self._given[silence] += rows.shape[1]
        for kind in self._kinds[silence]:
            begin = max(0, silence - kind.silence - first)
            end = rows.shape[1] if ticks is None else silence + ticks + kind.silence - first
            if begin < min(end, rows.shape[1]):
                kind.push(rows[:, begin:end])


class _MelParts:
    """Log-mel, which waits for the clip's statistics."""

    def __init__(self, front_end: MelFrontEnd) -> None:
        self.front_end = front_end
        self._parts: list[Tensor] = []
        self._before: Tensor | None = None  # log-mel of the silence around the clip
        self._after: Tensor | None = None

    def push(self, wave: Tensor, kinds: Sequence[_Kind]) -> None:
        edge, log_mel = CONTEXT * TICK // HOP, self.front_end.log_mel(wave)
        self._parts.append(log_mel[..., edge:-edge].clone())  # a view would keep the context
        self._before = log_mel[..., :edge].clone() if self._before is None else self._before
        self._after = log_mel[..., -edge:].clone()

    def finish(self, kinds: Sequence[_Kind]) -> None:
        front_end = self.front_end
        statistics = front_end.statistics(self._parts)
        ticks = [part.shape[2] // front_end.sub_frames for part in self._parts]
        silence = max(kind.silence for kind in kinds)
        if silence and self._before is not None and self._after is not None:
            count = silence * front_end.sub_frames
            more = max(0, count - self._before.shape[2])
            before = F.pad(self._before, (more, 0), value=math.log(FLOOR))[..., -count:]
            after = F.pad(self._after, (0, more), value=math.log(FLOOR))[..., :count]
            self._parts, ticks = [before, *self._parts, after], [silence, *ticks, silence]
        rows = self._parts[0].new_empty(1, sum(ticks), front_end.sub_frames * self._parts[0].shape[1])
        for place in rows.split(ticks, 1):  # a part is let go as its rows are made: a long clip is large here
            place.copy_(torch.cat(front_end.layers(statistics.applied(self._parts.pop(0))), -1))
        for kind in kinds:
            cut = silence - kind.silence
            kind.parts.append(adapted(kind.model, rows[:, cut : rows.shape[1] - cut], kind.context))
