"""Set the verdict's thresholds on the validation split and state their error rates. Never run on a test split.

- confidence: so high that the audio of another person is given a lag in at most `false_claims` of the cuts.
- in_sync_score: the best balanced accuracy, the mean of trusted and web clips.

Web clips have no trusted lag: their whole-clip lag is taken off first, where it is clear; the rest of them only serve
with foreign audio, which is out of sync whatever the clip's own offset.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synclip_core.errors import SyncLipError
from synclip_core.media.speech import speech_mask
from synclip_core.metrics.clip_lag import LENGTHS_S, MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import FPS
from synclip_core.metrics.in_sync import confusion
from synclip_core.verdict import CANNOT_TELL, IN_SYNC, SyncThresholds, decide

from .clips import read_clips
from .measure import (
    NEGATIVE_SHIFT,
    ClipMeasure,
    Reading,
    collect,
    cut,
    generator_for,
    measure_clip,
    read_curve,
)
from .provider import TokenProvider
from .tables import format_table, percent, rounded

GROUPS = ("trusted", "web")


@dataclass(frozen=True)
class Trial:
    """One cut. truth: its lag in frames, None for the audio of another clip."""

    group: str
    seconds: int
    truth: int | None
    reading: Reading
    duration_s: float
    face_s: float
    speech_s: float

    def verdict(self, limits: SyncThresholds) -> str:
        return decide(
            self.reading.lag,
            self.reading.confidence,
            duration_s=self.duration_s,
            face_s=self.face_s,
            speech_s=self.speech_s,
            max_lag=15,
            thresholds=limits,
        )[0]


def _trial(
    group: str, seconds: int, truth: int | None, audio: np.ndarray, part: tuple[Any, ...], wave: np.ndarray
) -> Trial:
    _, vocal, valid = part
    speech = speech_mask(wave)
    face_s, speech_s = valid.sum() / FPS, (valid & speech).sum() / FPS
    reading = read_curve(audio, vocal, valid)
    return Trial(group, seconds, truth, reading, len(valid) / FPS, float(face_s), float(speech_s))


def _group(measure: ClipMeasure) -> str:
    return "trusted" if measure.clip.trusted else "web"


def foreign_trials(clips: Sequence[ClipMeasure], provider: TokenProvider, seed: int, draws: int) -> list[Trial]:
    """Cuts of every length under the audio of another person.

    Not of another clip of the same person: sentences of one recording session (GRID) start and stop at the same
    moments, and their audio fits the mouth by that alone.
    """
    trials = []
    for m in clips:
        strangers = [c for c in clips if c.clip.identity != m.clip.identity] or [c for c in clips if c is not m]
        if not strangers:
            continue
        generator = generator_for(seed, m.clip.file, "foreign")
        for seconds in LENGTHS_S:
            for _ in range(draws):
                part = cut(m.tokens, provider, seconds, generator)
                stranger = strangers[int(generator.integers(len(strangers)))]
                sound_alone = replace(stranger.tokens, frames=None)
                other = cut(sound_alone, provider, seconds, generator)
                if part is None or other is None:
                    continue
                ticks = min(len(part[1]), len(other[1]))
                part, wave = (part[0], part[1][:ticks], part[2][:ticks]), other[0][: ticks * 640]
                trials.append(_trial(_group(m), seconds, None, provider.audio_tokens(wave), part, wave))
    return trials


def own_trials(m: ClipMeasure, own_lag: int, provider: TokenProvider, seed: int, draws: int) -> list[Trial]:
    """Cuts in sync (the clip's own lag taken off) and cuts 3 to 12 frames out, by turns."""
    generator = generator_for(seed, m.clip.file, "own")
    aligned = replace(m.tokens, waveform=shift_audio(m.tokens.waveform, -own_lag))
    trials = []
    for seconds in LENGTHS_S:
        for turn in range(2 * draws):
            part = cut(aligned, provider, seconds, generator)
            if part is None:
                break
            truth = draw_shift(generator, MAX_SHIFT, NEGATIVE_SHIFT) if turn % 2 else 0
            wave = shift_audio(part[0], truth)
            trials.append(_trial(_group(m), seconds, truth, provider.audio_tokens(wave), part, wave))
    return trials


def fit_confidence(foreign: Sequence[Trial], base: SyncThresholds, false_claims: float) -> float:
    """The largest of the groups' quantiles of confidence, scaled to one second as SyncThresholds.required is."""
    found = []
    for group in GROUPS:
        scaled = [
            t.reading.confidence * math.sqrt(min(max(t.face_s, 1 / FPS), base.settle_s))
            for t in foreign
            if t.group == group and np.isfinite(t.reading.confidence)
        ]
        if scaled:
            found.append(float(np.quantile(scaled, 1 - false_claims, method="higher")))
    if not found:
        raise SyncLipError(
            "thresholds: no two clips of this split are long enough (1 s) and have a face; nothing to fit on"
        )
    return float(np.nextafter(max(found), np.inf))


def fit_in_sync_score(trials: Sequence[Trial], default: float) -> float:
    """Of cuts of 3 s and more: the threshold of the best mean over groups of balanced accuracy."""
    long = [t for t in trials if t.seconds >= 3]
    sides = []
    for group in GROUPS:
        positive = [t.reading.score for t in long if t.group == group and t.truth == 0]
        negative = [t.reading.score for t in long if t.group == group and t.truth != 0]
        if positive and negative:
            sides.append((positive, negative))
    scores = np.unique([s for side in sides for part in side for s in part if np.isfinite(s)])
    if len(scores) < 2:
        return default
    candidates = ((scores[1:] + scores[:-1]) / 2)[:: max(1, len(scores) // 500)]
    means = [np.mean([confusion(p, n, c).accuracy or 0 for p, n in sides]) for c in candidates]
    return float(candidates[int(np.argmax(means))])


def error_rows(trials: Sequence[Trial], limits: SyncThresholds) -> list[dict[str, Any]]:
    """Rates in % of each kind of cut: what the verdict says that it should not."""
    rows = []
    for group in GROUPS:
        for seconds in LENGTHS_S:
            here = [(t, t.verdict(limits)) for t in trials if t.group == group and t.seconds == seconds]
            if not here:
                continue
            in_sync = [v for t, v in here if t.truth == 0]
            out = [(t, v) for t, v in here if t.truth]
            foreign = [v for t, v in here if t.truth is None]
            claimed = [(t, v) for t, v in here if t.truth is not None and v != CANNOT_TELL]
            wrong = [t.reading.lag is None or abs(t.reading.lag - (t.truth or 0)) > 1 for t, _ in claimed]
            rows.append(
                {
                    "clips": group,
                    "length": f"{seconds} s",
                    "in sync": len(in_sync),
                    "out": len(out),
                    "foreign": len(foreign),
                }
                | {"false alarm %": _share([v not in (IN_SYNC, CANNOT_TELL) for v in in_sync])}
                | {"miss %": _share([v == IN_SYNC for _, v in out])}
                | {"cannot tell %": _share([v == CANNOT_TELL for v in in_sync + [v for _, v in out]])}
                | {"wrong lag %": _share(wrong), "lag for foreign audio %": _share([v != CANNOT_TELL for v in foreign])}
            )
    return rows


def _share(hits: Sequence[bool]) -> float | None:
    return percent(float(np.mean(hits))) if hits else None


def fit_thresholds(
    data: Path,
    split: str,
    provider: TokenProvider,
    *,
    seed: int = 0,
    draws: int = 4,
    false_claims: float = 0.05,
    exclude: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Returns {"thresholds": for the checkpoint's metadata, "tables": error rates, ...}.

    SyncLipError when asked for a test split.
    """
    if split.startswith("test"):
        raise SyncLipError(
            f"thresholds: split {split!r} is for reporting only; fit on the validation split (--split val)"
        )
    if not 0 < false_claims < 1:
        raise SyncLipError(f"--false-claims: expected a share between 0 and 1, got {false_claims}")
    clips, left_out = read_clips(data, split, exclude)
    base = provider.thresholds
    done, failed = collect(clips, lambda c: measure_clip(c, provider, seed, 0, base), f"tokens, {split}", quiet)
    if len(done) < 2:
        raise SyncLipError(f"{data}, split {split}: expected at least two clips that can be read, got {len(done)}")
    foreign = foreign_trials(done, provider, seed, draws)
    limits = replace(base, confidence=fit_confidence(foreign, base, false_claims))

    trials, unclear = list(foreign), 0
    for m in done:
        face_s = float(m.tokens.valid.sum() / FPS)
        own = m.untouched.lag
        if m.clip.trusted:
            trials += own_trials(m, 0, provider, seed, draws)
        elif own is not None and m.untouched.confidence >= limits.required(face_s):
            trials += own_trials(m, own, provider, seed, draws)
        else:
            unclear += 1
    limits = replace(limits, in_sync_score=fit_in_sync_score(trials, base.in_sync_score))
    accuracy = []
    for group in GROUPS:
        long = [t for t in trials if t.group == group and t.seconds >= 3]
        positive = [t.reading.score for t in long if t.truth == 0]
        negative = [t.reading.score for t in long if t.truth != 0]
        counts = confusion(positive, negative, limits.in_sync_score)
        row = {"clips": group, "in sync": len(positive), "out or foreign": len(negative)}
        accuracy.append(row | {"threshold": rounded(limits.in_sync_score), "accuracy %": percent(counts.accuracy)})
    return {
        "command": "thresholds",
        "data": str(data),
        "split": split,
        "seed": seed,
        "draws": draws,
        "false_claims": false_claims,
        "embedding": provider.name,
        "fingerprint": provider.fingerprint,
        "thresholds": limits.to_dict(),
        "clips": {g: sum(_group(m) == g for m in done) for g in GROUPS},
        "web_clips_without_a_clear_lag": unclear,
        "failed": failed,
        "left_out": left_out,
        "tables": {
            "Verdicts on cuts (web clips: own lag taken off)": error_rows(trials, limits),
            "In-sync score, cuts of 3 s and more": accuracy,
        },
    }


def thresholds_text(report: dict[str, Any]) -> str:
    lines = [
        f"split {report['split']}: {report['clips']}, seed {report['seed']}, {report['draws']} draws a clip and length"
    ]
    lines.append(f"web clips without a clear lag of their own: {report['web_clips_without_a_clear_lag']}")
    lines += [f"failed: {f['file']}: {f['error']}" for f in report["failed"]]
    lines += [f"{name} = {value:.6g}" for name, value in report["thresholds"].items()]
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
