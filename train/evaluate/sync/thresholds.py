"""Set the verdict's thresholds on the validation split and state their error rates. Never run on a test split.

- confidence: so high that the audio of another person is given a lag in at most `false_claims` of the cuts.
- in_sync_score: the best balanced accuracy, the mean of trusted and web clips.

Each kind of tokens has its own. Web clips have no trusted lag: their whole-clip lag is taken off first, where it is
clear; the rest of them only serve with foreign audio, which is out of sync whatever the clip's own offset. Cuts are
judged as a user's file is, with the ticks at their ends.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import LENGTHS_S, MAX_SHIFT, draw_shift, shift_audio
from synclip_core.metrics.distance import FPS
from synclip_core.metrics.in_sync import confusion
from synclip_core.sync.verdict import CANNOT_TELL, IN_SYNC, SyncThresholds, decide

from ..clips import Clip, read_clips
from ..tables import format_table, percent, rounded
from .cuts import cut, foreign_cuts, generator_for
from .measure import NEGATIVE_SHIFT, Reading, collect, read_curve
from .provider import ClipParts, TokenProvider
from .tokens import Tokens, make_tokens, watched, with_audio

GROUPS = ("trusted", "web")
Parts = Mapping[str, tuple[Clip, ClipParts]]


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


def _trial(group: str, seconds: int, truth: int | None, tokens: Tokens) -> Trial:
    face_s, speech_s = tokens.valid.sum() / FPS, (tokens.valid & tokens.speech).sum() / FPS
    reading = read_curve(tokens, ends=True)
    return Trial(group, seconds, truth, reading, len(tokens.valid) / FPS, float(face_s), float(speech_s))


def _group(clip: Clip) -> str:
    return "trusted" if clip.trusted else "web"


def foreign_trials(parts: Parts, provider: TokenProvider, seed: int, draws: int) -> list[list[Trial]]:
    """Cuts of every length under the audio of another person; a list a view."""
    trials: list[list[Trial]] = [[] for _ in provider.views]
    for clip, _ in parts.values():
        generator = generator_for(seed, clip.file, "foreign")
        for seconds in LENGTHS_S:
            for part in foreign_cuts(clip, parts, seconds, draws, generator):
                for own, tokens in zip(trials, make_tokens(provider, part), strict=True):
                    own.append(_trial(_group(clip), seconds, None, tokens))
    return trials


def own_trials(
    clip: Clip, parts: ClipParts, own_lag: int, provider: TokenProvider, seed: int, draws: int
) -> list[list[Trial]]:
    """Cuts in sync (the clip's own lag taken off) and cuts 3 to 12 frames out, by turns; a list a view."""
    generator = generator_for(seed, clip.file, "own")
    aligned = replace(parts, waveform=shift_audio(parts.waveform, -own_lag))
    trials: list[list[Trial]] = [[] for _ in provider.views]
    for seconds in LENGTHS_S:
        for turn in range(2 * draws):
            part = cut(aligned, seconds, generator)
            if part is None:
                break
            truth = draw_shift(generator, MAX_SHIFT, NEGATIVE_SHIFT) if turn % 2 else 0
            moved = with_audio(provider, watched(provider, part), shift_audio(part.waveform, truth))
            for own, tokens in zip(trials, moved, strict=True):
                own.append(_trial(_group(clip), seconds, truth, tokens))
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


def error_rows(tokens: str, trials: Sequence[Trial], limits: SyncThresholds) -> list[dict[str, Any]]:
    """Rates in % of each kind of cut: what the verdict says that it should not. tokens: name of the view."""
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
            row = {"tokens": tokens, "clips": group, "length": f"{seconds} s"}
            row |= {"in sync": len(in_sync), "out": len(out), "foreign": len(foreign)}
            row |= {"false alarm %": _share([v not in (IN_SYNC, CANNOT_TELL) for v in in_sync])}
            row |= {"miss %": _share([v == IN_SYNC for _, v in out])}
            row |= {"cannot tell %": _share([v == CANNOT_TELL for v in in_sync + [v for _, v in out]])}
            row |= {
                "wrong lag %": _share(wrong),
                "lag for foreign audio %": _share([v != CANNOT_TELL for v in foreign]),
            }
            rows.append(row)
    return rows


def score_rows(tokens: str, trials: Sequence[Trial], limits: SyncThresholds) -> list[dict[str, Any]]:
    """Accuracy of the in-sync score on cuts of 3 s and more."""
    rows = []
    for group in GROUPS:
        long = [t for t in trials if t.group == group and t.seconds >= 3]
        positive = [t.reading.score for t in long if t.truth == 0]
        negative = [t.reading.score for t in long if t.truth != 0]
        counts = confusion(positive, negative, limits.in_sync_score)
        row = {"tokens": tokens, "clips": group, "in sync": len(positive), "out or foreign": len(negative)}
        rows.append(row | {"threshold": rounded(limits.in_sync_score), "accuracy %": percent(counts.accuracy)})
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
    """Returns {"thresholds": of the tokens that users get, for the checkpoint's metadata; "views": of every kind of
    tokens; "tables": error rates, ...}.

    SyncLipError when asked for a test split.
    """
    if split.startswith("test"):
        raise SyncLipError(
            f"thresholds: split {split!r} is for reporting only; fit on the validation split (--split val)"
        )
    if not 0 < false_claims < 1:
        raise SyncLipError(f"--false-claims: expected a share between 0 and 1, got {false_claims}")
    clips, left_out = read_clips(data, split, exclude)
    found, failed = collect(clips, lambda clip: (clip, provider.parts(clip.path)), f"tokens, {split}", quiet)
    if len(found) < 2:
        raise SyncLipError(f"{data}, split {split}: expected at least two clips that can be read, got {len(found)}")
    parts = {clip.file: (clip, own) for clip, own in found}
    foreign = foreign_trials(parts, provider, seed, draws)
    own_readings = {clip.file: [read_curve(t, ends=True) for t in make_tokens(provider, own)] for clip, own in found}

    @functools.cache
    def own_of(file: str, lag: int) -> list[list[Trial]]:  # both views ask for the same, where they see the same lag
        return own_trials(*parts[file], lag, provider, seed, draws)

    fitted: dict[str, SyncThresholds] = {}
    unclear: dict[str, int] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    for k, view in enumerate(provider.views):
        base = view.thresholds
        limits = replace(base, confidence=fit_confidence(foreign[k], base, false_claims))
        trials, unclear[view.name] = list(foreign[k]), 0
        for clip, own in found:
            face_s, reading = float((own.track >= 0).sum() / FPS), own_readings[clip.file][k]
            if clip.trusted:
                trials += own_of(clip.file, 0)[k]
            elif reading.lag is not None and reading.confidence >= limits.required(face_s):
                trials += own_of(clip.file, reading.lag)[k]
            else:
                unclear[view.name] += 1
        limits = replace(limits, in_sync_score=fit_in_sync_score(trials, base.in_sync_score))
        fitted[view.name] = limits
        title = "Verdicts on cuts (web clips: own lag taken off)"
        tables.setdefault(title, []).extend(error_rows(view.name, trials, limits))
        tables.setdefault("In-sync score, cuts of 3 s and more", []).extend(score_rows(view.name, trials, limits))
    return {
        "command": "thresholds",
        "data": str(data),
        "split": split,
        "seed": seed,
        "draws": draws,
        "false_claims": false_claims,
        "embedding": provider.name,
        "fingerprint": provider.fingerprint,
        "thresholds": fitted[provider.views[-1].name].to_dict(),
        "views": {name: limits.to_dict() for name, limits in fitted.items()},
        "clips": {g: sum(_group(clip) == g for clip, _ in found) for g in GROUPS},
        "web_clips_without_a_clear_lag": unclear,
        "failed": failed,
        "left_out": left_out,
        "tables": tables,
    }


def thresholds_text(report: dict[str, Any]) -> str:
    lines = [
        f"split {report['split']}: {report['clips']}, seed {report['seed']}, {report['draws']} draws a clip and length"
    ]
    lines.append(f"web clips without a clear lag of their own: {report['web_clips_without_a_clear_lag']}")
    lines += [f"failed: {f['file']}: {f['error']}" for f in report["failed"]]
    for name, limits in report["views"].items():
        lines += [f"{name}: {key} = {value:.6g}" for key, value in limits.items()]
    return "\n\n".join(["\n".join(lines), *(format_table(title, rows) for title, rows in report["tables"].items())])
