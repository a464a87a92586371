"""Judging: faces against voices, each face along the file and as a whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sync.along.evidence import REACH, Evidence
from ..sync.along.judge import Timeline, judge
from ..sync.along.look import lay
from ..sync.along.tolerance import Tolerance
from ..sync.found import Found
from ..sync.measure import SyncResult, measure_sync
from ..sync.speakers import face_row
from ..sync.verdict import SyncThresholds
from .seeing import Eye

LEAST_JUDGED = 25  # ticks; a face that is seen for less is named, not judged


@dataclass
class Judge:
    """eye: makes the vocal tokens of a face; the others: see SyncPipeline."""

    eye: Eye
    thresholds: SyncThresholds
    evidence: Evidence
    tolerance: Tolerance
    max_lag: int

    def timeline(
        self, audio: np.ndarray, vocal: np.ndarray, valid: np.ndarray, speech: np.ndarray, look: np.ndarray
    ) -> Timeline:
        reach = max(self.max_lag, REACH)
        return judge(audio, vocal, valid, speech, look, evidence=self.evidence, tolerance=self.tolerance, reach=reach)

    def track_timeline(
        self, found: Found, track_id: int, audio: np.ndarray, speech: np.ndarray, near: slice = slice(None)
    ) -> Timeline:
        """One face track on the clip's clock; near: judged on these ticks alone, on theirs."""
        track = np.full(found.ticks, -1, np.int64)
        ticks, valid, _ = found.vocal(track_id)
        track[ticks[valid]] = track_id
        vocal = self.vocal_of(found, track, [track_id], audio.shape[1])
        look = lay(found.ticks, found.looks[track_id])
        return self.timeline(audio[near], vocal[near], (track >= 0)[near], speech[near], look[near])

    def every_face(
        self, found: Found, chosen: Sequence[int], timeline: Timeline, audio: np.ndarray, speech: np.ndarray
    ) -> list[dict[str, Any]]:
        """Each face track of a file, in order of time, as `sync.speakers.face_row` gives it; what is seen for less than
        a second is not judged. timeline: of the chosen ones."""
        rows = []
        for summary in sorted(found.summaries, key=lambda s: (s.first, float(s.centre[0]))):
            own = None
            if [summary.track_id] == list(chosen):
                own = timeline
            elif summary.seen >= LEAST_JUDGED:  # on its own ticks and the sound around: a file may have hundreds
                near = slice(max(summary.first - REACH, 0), summary.last + 1 + REACH)
                own = self.track_timeline(found, summary.track_id, audio, speech, near)
            chose, moves = summary.track_id in chosen, found.moves(summary.track_id)
            rows.append(face_row(summary, found.reduction, own, chose, moves))
        return rows

    def vocal_of(self, found: Found, track: np.ndarray, chosen: Sequence[int], width: int) -> np.ndarray:
        """Vocal tokens [T, dim] of the chosen faces, each on the ticks of `track` that are its own and where no other
        is."""
        vocal = np.zeros((len(track), width), np.float32)
        for track_id in chosen:
            ticks, valid, prompts = found.vocal(track_id)
            own = (track[ticks] == track_id) | (track[ticks] < 0)
            vocal[ticks[own]] = self.eye.vocal_tokens(prompts, valid)[own]
        return vocal

    def measure(
        self,
        audio: np.ndarray,
        vocal: np.ndarray,
        valid: np.ndarray,
        speech: np.ndarray,
        timeline: Timeline | None = None,
    ) -> SyncResult:
        """Curve and windows, over as many lags as the timeline found."""
        worst = None if timeline is None else timeline.worst_frames
        reach = self.max_lag if worst is None else max(self.max_lag, min(math.ceil(abs(worst)) + 5, len(audio)))
        return measure_sync(audio, vocal, valid, speech, max_lag=reach, thresholds=self.thresholds)

    def judge_track(self, found: Found, track_id: int, audio: np.ndarray, speech: np.ndarray) -> SyncResult:
        """One face track against the voice of its ticks."""
        ticks, valid, prompts = found.vocal(track_id)
        return self.measure(audio[ticks], self.eye.vocal_tokens(prompts, valid), valid, speech[ticks])
