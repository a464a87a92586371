"""What a face does, from its motion tokens: probabilities over time, a summary of the clip, words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clock import FPS
from ..errors import SyncLipError
from ..media.speech import runs
from ..text import plain
from .head import BLOCK, AttributeGroup, AttributeHead, motion_features, uniform_frames
from .head_file import require_match

if TYPE_CHECKING:
    from ..tokens.streams import TokenStreams

FRAMES = (0, 16, 80)  # of a clip's probability; 0: all (section 5 of the paper samples 16 or 80)
SHORT_S = 1.0
NO_FACE = "no face found: cannot tell"

# The keys of one object of `synclip classify --json`, in order. Scripts rely on them: add, never rename or remove.
JSON_KEYS = ("file", "words", "labels", "duration_s", "face_share", "faces", "warnings", "error")


@dataclass
class LabelResult:
    """One label over a clip.

    probability: 0..1 of the clip, from the mean of its frames' logits (section 5); None without a face. share: of the
    frames with a face, where it holds. spans: (start_s, end_s) of these. holds: of the clip as a whole.
    """

    label: str
    group: str
    per: str
    probability: float | None
    share: float | None
    holds: bool
    threshold: float
    spans: list[tuple[float, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return plain({**vars(self), "spans": [{"start_s": a, "end_s": b} for a, b in self.spans]})


@dataclass
class AttributeReport:
    """The answer for one file. probabilities: float32 [T, L], a row a frame at 25 fps, NaN where there is no face."""

    file: str
    labels: list[LabelResult] = field(default_factory=list)
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    duration_s: float | None = None
    face_share: float | None = None
    faces: int = 0
    words: str = ""
    warnings: list[str] = field(default_factory=list)
    error: str | None = None

    @classmethod
    def failed(cls, file: str, error: Exception | str) -> AttributeReport:
        """The report of a file that could not be looked at; `error` becomes its message."""
        return cls(file, words="error", error=str(error))

    @property
    def seen(self) -> bool:
        """Was there a face at all?"""
        return bool(self.face_share)

    def to_json(self) -> dict[str, Any]:
        """The object of `synclip classify --json`: JSON_KEYS only, numbers rounded, NaN as null."""
        values = {**vars(self), "labels": [label.to_json() for label in self.labels]}
        return {key: plain(values[key]) for key in JSON_KEYS}


def classify(
    vocal: np.ndarray,
    ambient: np.ndarray,
    valid: np.ndarray,
    head: AttributeHead,
    *,
    model: str,
    frames: int = 0,
    threshold: float | None = None,
    file: str = "tokens",
    faces: int = 0,
) -> AttributeReport:
    """Section 4.2 on one clip. vocal, ambient: float [T, dim] as SyncPipeline.tokens gives them; valid: bool [T],
    frames with a face; model: sha256 of the checkpoint that made them.

    frames: how many uniformly sampled frames make the clip's probabilities (FRAMES; 0: all). threshold: for every label
    of a multi group, instead of the head's own. Raises SyncLipError where the tokens are of another checkpoint, do not
    fit each other or hold NaN, or an option is out of range.
    """
    if frames < 0 or (threshold is not None and not 0 < threshold < 1):
        raise SyncLipError(f"frames={frames}, threshold={threshold}: expected frames >= 0 and a threshold in 0..1")
    if vocal.ndim != 2 or vocal.shape != ambient.shape or valid.shape != vocal.shape[:1]:
        raise SyncLipError(
            f"vocal tokens of {vocal.shape}, ambient tokens of {ambient.shape} and a mask of {valid.shape} do not fit; "
            "give those of one clip, a row a frame"
        )
    require_match(head, model, vocal.shape[1])
    logits, length = _logits(vocal, ambient, valid, head), len(valid)
    report = AttributeReport(file, duration_s=length / FPS, faces=faces)
    report.face_share = float(valid.mean()) if length else 0.0
    report.probabilities = np.full(logits.shape, np.nan, np.float32)
    report.probabilities[valid] = head.probabilities(logits[valid])
    chosen = uniform_frames(valid, frames)
    clip = head.probabilities(logits[chosen].mean(0)) if len(chosen) else None
    for group, part in head.parts():
        report.labels += _results(group, report.probabilities[:, part], None if clip is None else clip[part], threshold)
    if report.seen and valid.sum() < SHORT_S * FPS:
        report.warnings.append(
            f"only {valid.sum() / FPS:.1f} s with a face: the tokens know what is usual for a face from the clip "
            "itself, so take this as a guess"
        )
    report.words = summary_words(report.labels) if report.seen else NO_FACE
    return report


def classify_streams(
    streams: TokenStreams,
    head: AttributeHead,
    model: str,
    *,
    frames: int = 0,
    threshold: float | None = None,
) -> AttributeReport:
    """`classify` on what SyncPipeline.tokens gave; model: sha256 of the pipeline's checkpoint."""
    report = classify(
        streams.vocal,
        streams.ambient,
        streams.valid,
        head,
        model=model,
        frames=frames,
        threshold=threshold,
        faces=streams.faces,
    )
    report.warnings += streams.warnings
    return report


def summary_words(labels: list[LabelResult]) -> str:
    """ "speaking 62 %, mouth open 31 % of the time; emotion: happy (83 %)"."""
    shares = [f"{_plain(r.label)} {_percent(r.share)}" for r in labels if r.per == "frame" and r.share]
    parts = [", ".join(shares) + " of the time"] if shares else []
    groups = dict.fromkeys(r.group for r in labels if r.per == "clip")
    for group in groups:
        held = [r for r in labels if r.group == group and r.per == "clip" and r.holds]
        said = ", ".join(f"{_plain(r.label)} ({_percent(r.probability)})" for r in held)
        parts.append(f"{_plain(group)}: {said or 'none clearly'}")
    return "; ".join(parts) or "nothing of what the head knows"


def _logits(vocal: np.ndarray, ambient: np.ndarray, valid: np.ndarray, head: AttributeHead) -> np.ndarray:
    logits = np.zeros((len(vocal), len(head.labels)), np.float32)
    for start in range(0, len(vocal), BLOCK):
        part = slice(start, start + BLOCK)
        logits[part] = head.logits(motion_features(vocal[part], ambient[part], head.ambient_weight))
    if not np.isfinite(logits[valid]).all():
        raise SyncLipError("the tokens hold NaN or infinity; encode the clip again")
    return logits


def _results(
    group: AttributeGroup, over_time: np.ndarray, clip: np.ndarray | None, threshold: float | None
) -> list[LabelResult]:
    """over_time: [T, labels of the group], NaN without a face; clip: [labels of the group]."""
    seen = ~np.isnan(over_time[:, 0])
    single = group.kind == "single"
    best = np.where(seen, np.nan_to_num(over_time).argmax(1), -1)
    results = []
    for k, label in enumerate(group.labels):
        # of a single group the likeliest label holds, if it reaches its threshold at all
        limit = group.thresholds[k] if single or threshold is None else threshold
        holds = seen & (np.nan_to_num(over_time[:, k]) >= limit)
        if single:
            holds &= best == k
        probability = None if clip is None else float(clip[k])
        clip_holds = probability is not None and probability >= limit and (not single or int(clip.argmax()) == k)  # type: ignore[union-attr]
        share = float(holds[seen].mean()) if seen.any() else None
        results.append(
            LabelResult(label, group.name, group.per, probability, share, clip_holds, float(limit), spans_of(holds))
        )
    return results


def spans_of(mask: np.ndarray) -> list[tuple[float, float]]:
    """bool [T] at 25 fps -> (start, end) in seconds of each stretch of True."""
    return [(begin / FPS, end / FPS) for begin, end in runs(mask, True)]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float | None) -> str:
    if share is None:
        return "-"
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
