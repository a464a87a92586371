"""Tokens of one clip or cut, and which of its ticks know nothing of its ends.

A temporal layer shows a token where its stream begins and ends. Both streams of a clip begin and end together, so an
end alone can vote for lag 0: ticks whose context reaches past an end are left out (evaluation.md, No end effects).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from synclip_core.media.speech import speech_mask

from .provider import ClipParts, TokenProvider, View


@dataclass(frozen=True)
class Tokens:
    """Of one view. audio, vocal: float32 [T, D]; valid: bool [T], ticks with a face; speech: bool [T].

    heard, seen: bool [T], ticks whose audio token hears no end of the clip, whose vocal token sees no end of the clip
    or of its face track.
    """

    audio: np.ndarray
    vocal: np.ndarray
    valid: np.ndarray
    speech: np.ndarray
    heard: np.ndarray
    seen: np.ndarray

    def counted(self, ends: bool) -> tuple[np.ndarray | None, np.ndarray]:
        """(audio ticks, video ticks) that count; ends: those that know an end too."""
        return (None, self.valid) if ends else (self.heard, self.seen)

    def first(self, ticks: int) -> "Tokens":
        """Its first ticks, cut after the tokens were made."""
        return Tokens(*(getattr(self, name)[:ticks] for name in self.__dataclass_fields__))


def make_tokens(provider: TokenProvider, parts: ClipParts) -> list[Tokens]:
    """Tokens of each view, made from these parts alone, as of a file that holds nothing else."""
    return with_audio(provider, watched(provider, parts), parts.waveform)


def watched(provider: TokenProvider, parts: ClipParts) -> list[Tokens]:
    """The video's half of `make_tokens`: audio is empty until `with_audio`."""
    total = len(parts)
    vocal: list[np.ndarray] = []
    for track, start, stop in tracks_of(parts.track):
        made = provider.vocal_tokens(parts.frames[start:stop], parts.track[start:stop] == track)
        vocal = vocal or [np.zeros((total, tokens.shape[1]), np.float32) for tokens in made]
        for whole, tokens in zip(vocal, made, strict=True):
            whole[start:stop] = tokens
    valid = parts.track >= 0
    vocal = vocal or [np.zeros((total, 1), np.float32) for _ in provider.views]  # no face: nothing is valid
    none = np.zeros((total, 0), np.float32)
    return [
        Tokens(none, own, valid, np.zeros(total, bool), *inside(parts.track, view))
        for own, view in zip(vocal, provider.views, strict=True)
    ]


def with_audio(provider: TokenProvider, tokens: list[Tokens], waveform: np.ndarray) -> list[Tokens]:
    """The same video with the tokens and the speech of another sound, float32 [T * 640]."""
    speech = speech_mask(waveform)
    return [
        replace(own, audio=audio, speech=speech, vocal=_as_wide(own.vocal, audio.shape[1]))
        for own, audio in zip(tokens, provider.audio_tokens(waveform), strict=True)
    ]


def _as_wide(vocal: np.ndarray, width: int) -> np.ndarray:
    """A clip without a face has tokens of no width yet."""
    return vocal if vocal.shape[1] == width else np.zeros((len(vocal), width), np.float32)


def tracks_of(track: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(track, first tick, tick after the last) of every face track in int64 [T]."""
    for number in np.unique(track[track >= 0]):
        ticks = np.flatnonzero(track == number)
        yield int(number), int(ticks[0]), int(ticks[-1]) + 1


def inside(track: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """bool [T], bool [T]: audio ticks and video ticks whose temporal layers reach no end of the clip or of the
    track (View.reach)."""
    (vocal_reach, audio_reach), total = view.reach, len(track)
    ticks = np.arange(total)
    heard = (ticks >= audio_reach) & (ticks < total - audio_reach)
    seen = np.zeros(total, bool)
    for number, start, stop in tracks_of(track):
        own = track == number
        seen |= own & (ticks >= start + vocal_reach) & (ticks < stop - vocal_reach)
    return heard, seen
