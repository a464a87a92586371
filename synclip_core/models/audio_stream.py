"""Audio tokens of any length in flat memory: the waveform passes by in blocks, only features stay."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from .mel import HOP, MelFrontEnd
from .synclipmae import SyncLipMAE

TICK = 640  # samples a video frame at 16 kHz
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


def adapted(model: SyncLipMAE, rows: Tensor) -> Tensor:
    """rows: the layers side by side, [1, T, depth * width]. Returns audio tokens [1, T, dim], not yet normalised."""
    audio = model.config.audio
    reach = audio.adapter_depth * (audio.adapter_kernel // 2)
    return in_spans(lambda x: model.adapter(list(x.split(audio.width, -1))), rows, reach)


class AudioTokenStream:
    """push() blocks of `with_context`, then finish(). Features of the mel front end wait for the clip's statistics."""

    def __init__(self, model: SyncLipMAE) -> None:
        self.model = model
        self._parts: list[Tensor] = []

    @torch.inference_mode()
    def push(self, piece: np.ndarray) -> None:
        """piece: float32 [(CONTEXT + n + CONTEXT) * 640], 16 kHz mono."""
        device = self.model.logit_scale.device
        wave = torch.from_numpy(piece)[None].to(device)
        front_end = self.model.front_end
        if isinstance(front_end, MelFrontEnd):
            edge = CONTEXT * TICK // HOP
            self._parts.append(front_end.log_mel(wave)[..., edge:-edge].clone())  # a view would keep the context
        else:
            self._parts.append(self.model.adapter(front_end(wave))[:, CONTEXT:-CONTEXT].clone())

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Audio tokens [T, dim], not yet normalised."""
        model, front_end = self.model, self.model.front_end
        if not isinstance(front_end, MelFrontEnd):
            return torch.cat(self._parts, 1)[0]
        statistics = front_end.statistics(self._parts)
        ticks = [part.shape[2] // front_end.sub_frames for part in self._parts]
        rows = self._parts[0].new_empty(1, sum(ticks), front_end.sub_frames * self._parts[0].shape[1])
        for place in rows.split(ticks, 1):  # a part is let go as its rows are made: a long clip is large here
            place.copy_(torch.cat(front_end.layers(statistics.applied(self._parts.pop(0))), -1))
        return adapted(model, rows)[0]
