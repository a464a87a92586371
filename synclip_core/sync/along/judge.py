"""The truth along a clip: tokens in, stretches, verdict, words and reason out."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...metrics.distance import FPS, as_mask
from .evidence import REACH, WEAK_COST, Evidence, bundled_evidence, pair_nats
from .headline import DRIFT, MIXED, verdict_of, words_of
from .look import SIZE, TURN, WIDTH
from .path import find_runs, fit_line
from .stretches import (
    CANNOT_TELL,
    IN_SYNC,
    MATCHED,
    NOT_FOLLOWING,
    Masks,
    Stretch,
    find_stretches,
    match_odds,
    moving_mouth,
    still_ticks,
)
from .tolerance import EBU, Tolerance

MIN_S = 0.4  # seconds of face and of speech without which there is nothing to judge
SMALL, TURNED = 40.0, 0.55  # px from brow to chin, share of a profile: beyond these a mouth is hard to read


@dataclass(frozen=True)
class Timeline:
    """verdict: in_sync, audio_early, audio_late, drift, mixed, does_not_follow or cannot_tell. lag_frames: of a file
    with one lag. confidence: probability that it is right within a frame (of the weakest claim in a mixed file).
    follows: share of the judged seconds in which the lips follow the voice at some lag."""

    verdict: str
    words: str
    reason: str
    stretches: list[Stretch]
    lag_frames: float | None
    slope: float
    confidence: float | None
    follows: float | None
    nats: np.ndarray = field(repr=False, compare=False, default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def worst_frames(self) -> float | None:
        """The largest lag of any stretch, with its sign."""
        lags = [s.worst_frames for s in self.stretches if s.worst_frames is not None]
        return max(lags, key=abs) if lags else None


def judge(
    audio: Any,
    vocal: Any,
    valid: Any = None,
    speech: Any = None,
    look: np.ndarray | None = None,
    *,
    evidence: Evidence | None = None,
    tolerance: Tolerance = EBU,
    reach: int = REACH,
) -> Timeline:
    """audio, vocal: [T, D] tokens at 25 fps; valid, speech: bool [T], None means all; look: [T, 5] (`sync.look`), None:
    nothing is known of the picture. reach: frames, lags up to this are searched. Never fails on short clips.

    A song is no speech to the detector: where there is next to none, all of the sound is judged first, and of it a
    match is believed and nothing else."""
    length = len(audio)
    if not length:
        return Timeline(CANNOT_TELL, "too short: cannot tell", "too short", [], None, 0.0, None, None)
    known = evidence or bundled_evidence()
    face, talk = as_mask(valid, length), as_mask(speech, length, "speech")
    seen_as = np.full((length, WIDTH), np.nan, np.float32)
    if look is not None and look.shape == seen_as.shape:
        seen_as = look
    still, moves = still_ticks(seen_as, face), moving_mouth(seen_as, face)
    usual = face & ~still
    quality = _median(seen_as[usual, SIZE]), _median(seen_as[usual, TURN])
    heard = [(talk, False), (talk, True)]
    song = np.ones(length, bool) if (talk & face).sum() / FPS < MIN_S else None
    for mask, weak in heard if song is None else [(song, False), *heard]:
        masks = Masks(face, mask, still, moves)
        nats = pair_nats(audio, vocal, usual, mask, known, reach, weak)
        stretches = find_stretches(nats, find_runs(nats), masks, known, tolerance, quality, WEAK_COST if weak else 0.0)
        if mask is song:
            stretches = [replace(s, state=CANNOT_TELL) if s.state == NOT_FOLLOWING else s for s in stretches]
        if any(s.state in MATCHED for s in stretches):
            break
    verdict = verdict_of(stretches)
    lines = [s for s in stretches if s.state in MATCHED]
    reason = _reason(verdict, masks, quality, nats)
    one = verdict in MATCHED and lines
    followed = sum(s.seconds for s in lines)
    judged = followed + sum(s.seconds for s in stretches if s.state == NOT_FOLLOWING)
    sure = [s.confidence for s in stretches if s.confidence is not None]
    return Timeline(
        verdict=verdict,
        words=words_of(verdict, stretches, reason),
        reason="" if verdict == IN_SYNC else reason,
        stretches=stretches,
        lag_frames=float(max(lines, key=lambda s: s.seconds).lag_frames or 0) if one else None,
        slope=lines[0].slope if verdict == DRIFT else 0.0,
        confidence=min(sure) if sure else _best_guess(nats, known, quality),
        follows=followed / judged if judged else None,
        nats=nats,
    )


def _median(values: np.ndarray) -> float:
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else 0.0


def _best_guess(nats: np.ndarray, evidence: Evidence, quality: tuple[float, float]) -> float | None:
    """The probability of the likeliest lag where none is told; None without evidence."""
    if not len(nats) or not nats.any():
        return None
    run = fit_line(nats, 0, len(nats))
    return evidence.probability(match_odds(nats, run), float(nats.any(1).sum()) / FPS, *quality)


def _reason(verdict: str, masks: Masks, quality: tuple[float, float], nats: np.ndarray) -> str:
    """Why: of what cannot be told the plainest cause, of the rest what was found."""
    if verdict == NOT_FOLLOWING:
        return "speech and a mouth that is seen well, which fit at no lag: another voice, or a mouth made without it"
    if verdict == MIXED:
        return "no single lag is right for the whole file"
    if verdict == DRIFT:
        return "sound and picture run at different speeds"
    if verdict != CANNOT_TELL:
        return "one lag fits the whole file"
    length = len(masks.valid)
    if length / FPS < MIN_S:
        return "too short"
    if masks.valid.sum() / FPS < MIN_S:
        return "no face to judge by"
    if (masks.speech & masks.valid).sum() / FPS < MIN_S:
        return "no reliable speech"
    live = masks.valid & ~masks.still
    if (masks.speech & live).sum() / FPS < MIN_S:
        return "the picture of the face stands still"
    size, turn = quality
    if masks.valid.mean() < 0.5:
        return "the face is hidden or out of the picture most of the time"
    if turn > TURNED:
        return "the face is turned away"
    if 0 < size < SMALL:
        return "the face is too small"
    if (masks.speech & live).sum() / FPS < 2 or nats.any(1).sum() / FPS < 1.5:
        return "too short"
    if not _distinct(nats):
        return "mouth and voice do not clearly match at any lag"
    return "the sound is unclear"


def _distinct(nats: np.ndarray) -> bool:
    """Does some lag stand out, without being likely enough? Then the sound or the sight of it is poor."""
    total = nats.sum(0, dtype=np.float64)
    return bool(total.max() > 1.0)
