"""Hearing: the sound tracks of a file, or a sound in memory, to audio tokens and where speech is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ..clock import RATE, TICK
from ..errors import SyncLipError
from ..media.audio import iter_audio
from ..media.speech import SpeechStream, speech_ticks
from ..models.audio.speech import SpeechEncoder, rows_of_frames
from ..models.synclipmae import SyncLipMAE, normalise
from ..sync.along.voice import TrackChoice, played_first
from ..tokens.audio_stream import CONTEXT, AudioTokenStream, AudioTokenStreams, adapted, with_context
from .words import Progress, Sound


class Ear:
    """context, audio_track: see SyncPipeline."""

    def __init__(self, model: SyncLipMAE, device: str, context: bool = True, audio_track: TrackChoice = None) -> None:
        self.model, self.device, self.context, self.audio_track = model, device, context, audio_track

    def sounds(self, path: str | Path, ticks: int, progress: Progress | None) -> Iterator[tuple[int, Sound]]:
        """(number, (tokens, speech)) of the tracks that may be judged, that first which players play."""
        order = played_first(path) or [0]
        if isinstance(self.audio_track, int):
            order = [self.audio_track]
        for number in order:
            yield number, self.sound(path, ticks, progress, number)

    def sound(self, path: str | Path, ticks: int, progress: Progress | None, number: int = 0) -> Sound:
        """Audio tokens [T, dim] and speech mask [T]. progress is called where it stands, so that it may cancel."""
        stream, talk, edge = AudioTokenStream(self.model, self.context), SpeechStream(), CONTEXT * TICK
        for piece in with_context(iter_audio(path, track=number, duration_s=ticks / 25)):
            if progress is not None:
                progress(ticks, ticks)
            stream.push(piece)
            talk.push(piece[edge:-edge])
        return normalise(stream.finish()).cpu().numpy(), speech_ticks(talk.finish())

    def hear(self, waveform: np.ndarray, kinds: Sequence[bool] = (False, True)) -> list[np.ndarray]:
        """`audio_tokens` of several kinds, for each of which `context` is given, of a sound that is heard once."""
        streams = AudioTokenStreams(self.model, kinds)
        blocks = (waveform[i : i + 10 * RATE] for i in range(0, len(waveform), 10 * RATE))
        for piece in with_context(blocks):
            streams.push(piece)
        return [normalise(tokens).cpu().numpy() for tokens in streams.finish()]

    @torch.inference_mode()
    def layer_tokens(self, layers: Sequence[torch.Tensor]) -> np.ndarray:
        """layers: hidden states [1, N, width] of a speech encoder run elsewhere, 50 rows a second, the input of its
        first block first. Returns float32 [(N + 1) // 2, dim], L2-normalised. Raises SyncLipError where this model
        listens to something else."""
        audio = self.model.config.audio
        if not isinstance(self.model.front_end, SpeechEncoder):
            raise SyncLipError(
                f"this checkpoint listens with {audio.front_end}, not with a speech encoder; give it the sound itself"
            )
        shapes = {tuple(layer.shape[::2]) for layer in layers}
        if len(layers) != audio.depth or shapes != {(1, audio.width)}:
            raise SyncLipError(
                f"the speech encoder gave {len(layers)} layers of {sorted(shapes)} (batch, width); this checkpoint "
                f"was trained on {audio.depth} layers of width {audio.width} ({audio.front_end}), one clip at a time"
            )
        if audio.align != "features":
            raise SyncLipError(
                f"this checkpoint was trained with audio.align {audio.align}, and these layers have 50 rows a second, "
                "of which two are averaged; give it the sound itself"
            )
        rows = rows_of_frames([layer.to(self.device) for layer in layers])
        return normalise(adapted(self.model, torch.cat(rows, -1), self.context))[0].cpu().numpy()
