"""Do the three tokens hold what they should? (SyncLipMAE, section 3.1: identity, vocal and ambient motion)

Each factor is asked of every token, so that what leaks shows beside what belongs: who it is (do two clips of one person
look more alike than of two), and by ridge regression from single frames the mouth's opening, speech, blinks, brows, and
the pose of the head. And how much of one token another tells. The tracker's landmarks and the eyes' pixels are the
truth (train/attributes). Two rows stand for comparison: what a reader of the pose and the mouth's opening alone could
say (people nod and pause when they blink, so that a token that sees no eyes is above chance), and the picture itself.
"""

import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.metrics.classification import auc
from synclip_core.pipeline import SyncPipeline
from train.attributes.derived import measures
from train.attributes.eyes import blink_truth, brow_motion, gaze, head_pose, read_lids
from train.attributes.features import FeatureCache, Features
from train.attributes.fit import UNKNOWN
from train.attributes.frames import thinned

from .clips import SEEN, Clip, read_clips
from .ridge import Ridge, r2
from .tables import format_table, rounded

TOKENS = ("identity", "single", "vocal", "ambient")
NAMES = {"single": "vocal", "vocal": "vocal, context"}  # as rows are called where the model has both kinds
POSE = ("mouth opening", "head turn", "head height", "head roll")  # absolute, and as motion within a clip
WITHIN = ("brow motion", "gaze motion")  # within a clip alone
REFERENCES = {"pose": "(pose, mouth opening)", "pixels": "(picture, 16 x 16)"}
FITTED_ON = 60  # clips of the seen speaker in the fit; of all others every one
STRIDE = 3  # every third frame: neighbours say the same


def evaluate_factors(
    data: Path,
    split: str,
    cache: Path | None = None,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
    exclude: Path | None = None,
) -> dict[str, Any]:
    """Regressions are fitted on the training split and judged on `split`; R2 of frames against the mean of all, and
    with each clip's mean taken out of token and truth, which asks for motion alone; speech and blinks as AUC."""
    pipeline = SyncPipeline(checkpoint, device=device)
    with tempfile.TemporaryDirectory() as scratch:
        features = FeatureCache(pipeline, cache or Path(scratch))
        fit, _, refused = _read(data, "train", features, exclude)
        judged, clips, more = _read(data, split, features, exclude)
    if not fit or not judged:
        raise SyncLipError(f"{data}: {len(fit)} training and {len(judged)} {split} clips show a face; nothing to judge")
    names = token_names(judged)
    rows = [
        {"token": names[token], **asked(token, fit, judged), **same_person(token, judged, clips)} for token in names
    ]
    rows += [{"token": name, **asked(source, fit, judged), "same person": None} for source, name in REFERENCES.items()]
    return {
        "program": "train.evaluate factors",
        "checkpoint": pipeline.checkpoint.sha256,
        "split": split,
        "clips": {split: len(judged)},
        "fitted_on": {"clips": len(fit), "frames": sum(len(_rows(f)) for f in fit)},
        "frames": sum(len(_rows(f)) for f in judged),
        "closed_frames": sum(int((blinks(f)[_rows(f)] == 1).sum()) for f in judged),
        "refused": refused | more,
        "rows": rows,
        "between": between(fit, judged, names),
    }


def factors_text(report: dict[str, Any]) -> str:
    split, fitted = report["split"], report["fitted_on"]
    judged = f"{report['frames']} frames of {report['clips'][split]} clips, {report['closed_frames']} with lids down"
    title = f"What each token tells, {split} ({judged}; fitted on {fitted['frames']} of {fitted['clips']})"
    return "\n".join(
        [
            format_table(title, report["rows"]),
            "",
            "same person: AUC of the similarity of two clips, chance 0.5. R2: 1 is all, 0 what a constant tells;",
            "(motion): each clip's mean taken out. speech, blink: AUC, chance 0.5; blink within clips, where the pose",
            "and the mouth alone tell what the row of that name says. Rows in brackets are no tokens.",
            "",
            format_table("How much of one token another tells (R2, weighted by variance)", report["between"]),
        ]
    )


def token_names(features: Sequence[Features]) -> dict[str, str]:
    """Field of Features -> name of its row. A model with one kind of vocal tokens has one row of them."""
    both = any(not np.array_equal(f.single, f.vocal) for f in features)
    return {token: NAMES.get(token, token) if both else token for token in TOKENS if both or token != "single"}


def _read(
    data: Path, split: str, cache: FeatureCache, exclude: Path | None
) -> tuple[list[Features], list[Clip], dict[str, str]]:
    clips, left_out = read_clips(data, split, exclude)
    refused = {row["file"]: row["reason"] for row in left_out}
    found, kept = [], []
    for clip in tqdm(thinned(clips, FITTED_ON), desc=f"{split} features", unit="video", disable=None):
        try:
            found.append(cache.get(clip.path))
            kept.append(clip)
        except SyncLipError as error:
            refused[clip.file] = str(error)
    return found, kept, refused


def _rows(features: Features) -> np.ndarray:
    return features.valid.nonzero()[0][::STRIDE]


def blinks(features: Features) -> np.ndarray:
    """int [T]: 1 lids down, 0 up, UNKNOWN."""
    turn = head_pose(features.points)[:, 0]
    return blink_truth(read_lids(features.eyes, features.valid), turn, features.valid)


def targets(features: Features) -> dict[str, np.ndarray]:
    """Name -> float [T]; NaN where not known."""
    found, lids = measures(features), blinks(features)
    values = (found.gap, found.turn, found.height, found.roll)
    eyes = np.where(lids == 0, gaze(features.eyes), np.nan)  # no gaze behind closed lids
    return dict(zip(POSE, values, strict=True)) | {
        "brow motion": brow_motion(features.points, features.valid),
        "gaze motion": eyes,
        "speech": features.speech.astype(np.float64),
        "blink": np.where(lids == UNKNOWN, np.nan, lids),
    }


def source_of(token: str, features: Features) -> np.ndarray:
    """[T, D]: a token, the grey picture, or the pose of the head and the opening of the mouth with their squares."""
    if token != "pose":
        return getattr(features, token)
    found = measures(features)
    values = np.nan_to_num(np.stack([found.gap, found.turn, found.height, found.roll], 1))
    return np.concatenate([values, values**2], 1)


class _Frames:
    """Tokens [n, D], the targets and the clip of each frame."""

    def __init__(self, token: str, features: Sequence[Features]) -> None:
        rows = [_rows(f) for f in features]
        found = [source_of(token, f)[r] for f, r in zip(features, rows, strict=True)]
        self.x = np.concatenate(found).astype(np.float64)
        asked = [targets(f) for f in features]
        self.y = {name: np.concatenate([t[name][r] for t, r in zip(asked, rows, strict=True)]) for name in asked[0]}
        self.clip = np.repeat(np.arange(len(rows)), [len(r) for r in rows])

    def known(self, name: str, motion: bool) -> tuple[np.ndarray, np.ndarray]:
        """x [n, D] and y [n, 1] where the target is known; motion: each clip's mean taken out of both."""
        keep = np.isfinite(self.y[name])
        x, y = self.x[keep], self.y[name][keep, None].astype(np.float64)
        return (_centred(x, self.clip[keep]), _centred(y, self.clip[keep])) if motion and len(x) else (x, y)


def asked(token: str, fit: Sequence[Features], judged: Sequence[Features]) -> dict[str, float | None]:
    """Everything that ridge regression reads from one token."""
    taught, told = _Frames(token, fit), _Frames(token, judged)

    def said(name: str, motion: bool) -> tuple[np.ndarray, np.ndarray] | None:
        (x, y), (other, truth) = taught.known(name, motion), told.known(name, motion)
        return (Ridge.fit(x, y)(other), truth) if len(x) and len(other) else None

    row: dict[str, float | None] = {}
    for name in POSE:
        for title, motion in ((name, False), (f"({name.split()[-1]} motion)", True)):
            row[title] = rounded(r2(*pair), 2) if (pair := said(name, motion)) else None
    for name in WITHIN:
        row[f"({name})"] = rounded(r2(*pair), 2) if (pair := said(name, True)) else None
    for name in ("speech", "blink"):
        pair, truth = said(name, name == "blink"), told.known(name, False)[1]
        row[name] = rounded(auc(pair[0][:, 0], truth[:, 0] > 0.5), 3) if pair else None
    return row


def _centred(values: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """Each clip's mean taken out. values: [n] or [n, D]."""
    sums = np.zeros((clip.max() + 1, *values.shape[1:]))
    np.add.at(sums, clip, values)
    counts = np.maximum(np.bincount(clip), 1).reshape(-1, *[1] * (values.ndim - 1))
    return values - (sums / counts)[clip]


def between(fit: Sequence[Features], judged: Sequence[Features], names: dict[str, str]) -> list[dict[str, Any]]:
    """Ridge from one token to another, every pair in both directions: R2 over all dimensions of the other, each by its
    variance; and with each clip's mean taken out of both."""
    taught = {token: _Frames(token, fit) for token in names}
    told = {token: _Frames(token, judged) for token in names}
    moved = {token: [_centred(part.x, part.clip) for part in (taught[token], told[token])] for token in names}
    rows = []
    for a in names:
        for b in names:
            if a == b or {names[a], names[b]} == set(NAMES.values()):  # two kinds of one token
                continue
            whole = Ridge.fit(taught[a].x, taught[b].x)(told[a].x)
            motion = Ridge.fit(moved[a][0], moved[b][0])(moved[a][1])
            row: dict[str, Any] = {"from": names[a], "to": names[b], "R2": rounded(r2(whole, told[b].x), 3)}
            rows.append(row | {"R2 within clips": rounded(r2(motion, moved[b][1]), 3)})
    return rows


def same_person(token: str, features: Sequence[Features], clips: Sequence[Clip]) -> dict[str, float | None]:
    """AUC of the cosine of two clips' mean tokens: pairs of one person against pairs of two.

    The seen speaker's clips come from one session, so they count as one clip; web clips of one identity come from
    different videos or stretches of one.
    """
    means, people, seen = [], [], False
    for found, clip in zip(features, clips, strict=True):
        if clip.subset == SEEN and seen:
            continue
        seen |= clip.subset == SEEN
        mean = getattr(found, token)[found.valid].mean(0)
        means.append(mean / max(np.linalg.norm(mean), 1e-9))
        people.append(clip.identity)
    pairs = list(combinations(range(len(people)), 2))
    alike = np.array([means[a] @ means[b] for a, b in pairs])
    same = np.array([people[a] == people[b] for a, b in pairs])
    return {"same person": rounded(auc(alike, same), 3) if len(pairs) else None}
