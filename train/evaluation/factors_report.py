"""Do the three tokens hold what they should? (papers/synclipmae.txt, section 3.1: identity, vocal and ambient motion)

Each factor is asked of every token, so that what leaks shows beside what belongs: who it is (do two clips of one person
look more alike than of two), and by ridge regression from single frames the mouth's opening, speech, and the pose of
the head. The tracker's landmarks are the truth; blinks are left out, as its mesh does not see them (ATTRIBUTES.md).
"""

import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.metrics.classification import auc
from synclip_core.pipeline import SyncPipeline
from train.attributes.derived import measures
from train.attributes.features import FeatureCache, Features
from train.attributes.frames import thinned

from .clips import SEEN, Clip, read_clips
from .tables import format_table, rounded

TOKENS = ("identity", "vocal", "ambient")
TARGETS = ("mouth opening", "head turn", "head height", "head roll", "speech")
FITTED_ON = 60  # clips of the seen speaker in the fit; of all others every one
STRIDE = 3  # every third frame: neighbours say the same
RIDGE = 10.0  # on standardised tokens; their width is the order of a hundred, the frames some ten thousand


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
    against each clip's own mean, which asks for motion alone; speech as AUC."""
    pipeline = SyncPipeline(checkpoint, device=device)
    with tempfile.TemporaryDirectory() as scratch:
        features = FeatureCache(pipeline, cache or Path(scratch))
        fit, _, refused = _read(data, "train", features, exclude)
        judged, clips, more = _read(data, split, features, exclude)
    if not fit or not judged:
        raise SyncLipError(f"{data}: {len(fit)} training and {len(judged)} {split} clips show a face; nothing to judge")
    rows = [{"token": token, **asked(token, fit, judged), **same_person(token, judged, clips)} for token in TOKENS]
    return {
        "program": "train.evaluate factors",
        "checkpoint": pipeline.checkpoint.sha256,
        "split": split,
        "clips": {split: len(judged)},
        "fitted_on": {"clips": len(fit), "frames": sum(len(f.valid.nonzero()[0][::STRIDE]) for f in fit)},
        "frames": sum(len(f.valid.nonzero()[0][::STRIDE]) for f in judged),
        "refused": refused | more,
        "rows": rows,
    }


def factors_text(report: dict[str, Any]) -> str:
    split, fitted = report["split"], report["fitted_on"]
    judged = f"{report['frames']} frames of {report['clips'][split]} clips"
    title = f"What each token tells, {split} ({judged}; fitted on {fitted['frames']} of {fitted['clips']})"
    return "\n".join(
        [
            format_table(title, report["rows"]),
            "",
            "same person: AUC of the similarity of two clips, chance 0.5. R2: 1 is all, 0 what a constant tells;",
            "(motion): against each clip's own mean. speech: AUC, chance 0.5.",
        ]
    )


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


def targets(features: Features) -> np.ndarray:
    """float [T, 5], in the order of TARGETS."""
    found = measures(features)
    return np.stack([found.gap, found.turn, found.height, found.roll, features.speech], 1).astype(np.float64)


def _frames(token: str, features: list[Features]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens [n, D], targets [n, 5] and the clip of each frame [n]."""
    rows = [f.valid.nonzero()[0][::STRIDE] for f in features]
    x = np.concatenate([getattr(f, token)[r] for f, r in zip(features, rows, strict=True)]).astype(np.float64)
    y = np.concatenate([targets(f)[r] for f, r in zip(features, rows, strict=True)])
    return x, y, np.repeat(np.arange(len(rows)), [len(r) for r in rows])


def asked(token: str, fit: list[Features], judged: list[Features]) -> dict[str, float | None]:
    x, y, _ = _frames(token, fit)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    weights = ridge((x - mean) / scale, y - y.mean(0), RIDGE)
    asked, truth, clip = _frames(token, judged)
    said = ((asked - mean) / scale) @ weights + y.mean(0)
    row: dict[str, float | None] = {}
    for k, name in enumerate(TARGETS[:-1]):
        row[name] = rounded(r2(said[:, k], truth[:, k]), 2)
        row[f"({name.split()[-1]} motion)"] = rounded(r2(_centred(said[:, k], clip), _centred(truth[:, k], clip)), 2)
    row["speech"] = rounded(auc(said[:, -1], truth[:, -1] > 0.5), 3)
    return row


def ridge(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Weights [D, K] that minimise |x w - y|^2 + strength |w|^2."""
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def r2(said: np.ndarray, truth: np.ndarray) -> float:
    """Share of the variance that is told; below 0 where the constant mean tells more."""
    return float(1 - ((said - truth) ** 2).sum() / max(((truth - truth.mean()) ** 2).sum(), 1e-12))


def _centred(values: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """Each clip's mean taken out."""
    sums = np.bincount(clip, values) / np.maximum(np.bincount(clip), 1)
    return values - sums[clip]


def same_person(token: str, features: list[Features], clips: list[Clip]) -> dict[str, float | None]:
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
