"""Choosing: which face of each tick, and which sound, the answer is about."""

from collections.abc import Iterator

import numpy as np

from ..faces.selection import Choice, select_tracks
from ..sync.along.turns import follow_speaker
from ..sync.along.voice import TrackChoice
from ..sync.found import Found
from .judging import Judge
from .words import Sound

MIN_TRACK = 8  # ticks; a shorter appearance has no mean of its own to take off
LEAST_SPEECH = 10  # ticks; a track with less gives way to the next


def choose_sound(
    found: Found, sounds: Iterator[tuple[int, Sound]], audio_track: TrackChoice, judge: Judge
) -> tuple[int, Sound]:
    """The track that players play, or the next one where that has no speech; "best": that which fits a face
    best."""
    if audio_track != "best":
        first = None
        for number, sound in sounds:
            first = first or (number, sound)
            if sound[1].sum() >= LEAST_SPEECH:
                return number, sound
        assert first is not None
        return first
    heard = list(sounds)

    def fit(sound: Sound) -> float:
        faces = [judge.track_timeline(found, track_id, *sound) for track_id in found.prompts]
        return max((sum(s.nats for s in face.stretches) for face in faces), default=0.0)

    return max(heard, key=lambda item: fit(item[1]))


def choose_face(
    found: Found, choice: Choice, audio: np.ndarray, speech: np.ndarray, judge: Judge
) -> tuple[np.ndarray, list[int]]:
    """The face track of each tick (-1: none) and the chosen tracks."""
    summaries = found.summaries
    scores = None
    if choice == "speaker":
        ids = [summary.track_id for summary in summaries]
        turns = follow_speaker({k: judge.track_timeline(found, k, audio, speech) for k in ids}, found.ticks)
        if turns is not None:
            return _only_seen(found, turns), sorted(set(turns[turns >= 0].tolist()))
        scores = {track_id: judge.judge_track(found, track_id, audio, speech).margin for track_id in ids}
    chosen = select_tracks(summaries, choice, scores, reduction=found.reduction)
    track = np.full(found.ticks, -1, np.int64)
    for track_id in chosen:
        ticks, valid, _ = found.track(track_id)
        if valid.sum() >= min(MIN_TRACK, found.ticks):
            track[ticks[valid]] = track_id
    return track, chosen


def _only_seen(found: Found, track: np.ndarray) -> np.ndarray:
    """The same with -1 where the face of a tick is not seen."""
    seen = np.full(len(track), -1, np.int64)
    for track_id in np.unique(track[track >= 0]).tolist():
        ticks, valid, _ = found.track(track_id)
        own = ticks[valid & (track[ticks] == track_id)]
        seen[own] = track_id
    return seen
