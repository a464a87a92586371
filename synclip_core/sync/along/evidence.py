"""From distances to evidence: how many nats speak for "this sound belongs to this mouth" at every tick and lag.

The distance of a pair says little by itself: a voice or a face moves all its distances up or down. So each distance is
held against what its row (this sound at other lags) and its column (this mouth at other sounds) show, in units of how
much the file's distances vary, and the contrast becomes the logarithm of a likelihood ratio, pairs that belong
together against pairs that do not. Both densities are fitted on the validation split for each checkpoint
(`python -m train.evaluate evidence`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SyncLipError
from ...metrics.distance import as_mask, distance_band

WEAK_COST = 1.5  # nats: a weak match is less likely before anything is known
REACH = 125  # frames: lags of up to 5 s are always searched
SPEECH_MARGIN = 5  # ticks around speech that count: a mouth that opens or closes is evidence
BUNDLED = Path(__file__).parents[2] / "weights" / "synclip_tiny.evidence.json"


@dataclass(frozen=True)
class Evidence:
    """What was fitted for one checkpoint.

    contrast, nats: knots of the log likelihood ratio of one pair, contrast rising; flat beyond the ends.
    weak: the same for faces that fit half as clearly (turned, drawn, generated), tried where nothing fits clearly.
    share: neighbouring pairs repeat one another, so each counts with this share of its nats.
    margin: ticks at either end of a file that do not count, where tokens know the end.
    answer: probability from which a lag is told. doubt: nats against every lag from which "does not follow" is told.
    logit: weights of (1, logit of the posterior, log seconds, face size, turn) in the calibrated probability.
    """

    contrast: tuple[float, ...]
    nats: tuple[float, ...]
    share: float
    weak: tuple[float, ...] = ()
    margin: int = 0
    answer: float = 0.9
    doubt: float = 5.0
    logit: tuple[float, ...] = (0.0, 1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not self.weak:
            object.__setattr__(self, "weak", self.nats)
        for name in ("contrast", "nats", "weak", "logit"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        numbers = [*self.contrast, *self.nats, *self.weak, *self.logit, self.share, self.answer, self.doubt]
        tables = {len(self.contrast), len(self.nats), len(self.weak)}
        if len(tables) > 1 or len(self.contrast) < 2 or len(self.logit) != 5:
            raise SyncLipError("evidence: expected as many nats as contrasts, two at least, and five logit weights")
        if not all(map(math.isfinite, numbers)) or any(np.diff(self.contrast) <= 0):
            raise SyncLipError("evidence: expected finite numbers and rising contrasts")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def probability(self, odds: float, seconds: float, size: float = 0.0, turn: float = 0.0) -> float:
        """That a lag is right within a frame, calibrated. odds: log odds by the evidence alone; seconds: with evidence;
        size: of the face, px from brow to chin, 0 where unknown; turn: 0 frontal to 1 profile."""
        known = [1.0, min(max(odds, -20.0), 20.0), math.log(max(seconds, 0.04)), size_feature(size), turn]
        total = sum(w * v for w, v in zip(self.logit, known, strict=True))
        return 1 / (1 + math.exp(-min(max(total, -40.0), 40.0)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evidence":
        """Unknown names are ignored. SyncLipError where a needed one is missing or is no number."""
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except (TypeError, ValueError) as error:
            raise SyncLipError(f"evidence: expected the output of `train.evaluate evidence`; {error}") from error


def size_feature(size: float) -> float:
    """Doublings of the face's height over 100 px, at most one each way: beyond it more pixels change little."""
    return min(max(math.log2(size / 100), -1.0), 1.0) if size > 0 else 0.0


def read_evidence(path: Path) -> Evidence:
    """From a file that `train.evaluate evidence --out` wrote. SyncLipError where it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SyncLipError(f"{path}: expected a JSON report of `train.evaluate evidence`; {error}") from error
    found = values.get("evidence", values) if isinstance(values, dict) else None
    if not isinstance(found, dict):
        raise SyncLipError(f"{path}: expected a JSON object of `train.evaluate evidence`")
    return Evidence.from_dict(found)


@lru_cache(maxsize=1)
def bundled_evidence() -> Evidence:
    """Of the bundled checkpoint; also used for a checkpoint that carries none of its own."""
    return read_evidence(BUNDLED)


def contrasts(band: np.ndarray) -> np.ndarray:
    """How much closer each pair is than its row and its column are on average, in standard deviations of all pairs,
    float32 [T, lags]; NaN where undefined.

    band: d(u, l), NaN where undefined (metrics.distance). Above 0: closer than usual.
    """
    ticks, lags = band.shape
    reach = lags // 2
    defined = np.isfinite(band)
    filled = np.where(defined, band, 0)
    rows = filled.sum(1) / np.maximum(defined.sum(1), 1)
    # column v of the square is the diagonal u + l = v of the band
    place = np.arange(ticks)[:, None] + np.arange(lags)[None, :]  # v + reach
    total = np.bincount(place.ravel(), filled.ravel(), ticks + 2 * reach)
    count = np.bincount(place.ravel(), defined.ravel(), ticks + 2 * reach)
    columns = (total / np.maximum(count, 1))[place]
    closer = np.where(defined, (rows[:, None] + columns) / 2 - filled, 0)
    spread = np.sqrt(np.square(closer).sum() / max(int(defined.sum()), 1))
    return np.where(defined, closer / max(float(spread), 1e-6), np.nan).astype(np.float32)


def near(mask: np.ndarray, ticks: int) -> np.ndarray:
    """bool [T]: within `ticks` of a True."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, ticks), 2 * ticks + 1)
    return np.asarray(around[: len(mask)].any(axis=1))


def counted_band(audio: Any, vocal: Any, seen: Any, speech: Any, margin: int, reach: int) -> np.ndarray:
    """Distances of the pairs that count, float32 [T, 2 * reach + 1], NaN elsewhere: their sound is within 0.2 s of
    speech, their mouth is seen, and both are `margin` ticks inside the file."""
    length = len(audio)
    inside = np.zeros(length, bool)
    inside[margin : length - margin] = True
    heard = near(as_mask(speech, length, "speech"), SPEECH_MARGIN) & inside
    return distance_band(audio, vocal, reach, as_mask(seen, length) & inside, heard=heard)


def pair_nats(
    audio: Any,
    vocal: Any,
    seen: Any,
    speech: Any,
    evidence: Evidence,
    reach: int = REACH,
    weak: bool = False,
) -> np.ndarray:
    """Evidence of each audio tick for each lag, in nats that add up along a stretch; 0 where there is none.

    audio, vocal: [T, D] tokens; seen: bool [T], ticks whose mouth can be seen and moves; speech: bool [T].
    weak: see Evidence. Returns float32 [T, 2 * reach + 1].
    """
    band = counted_band(audio, vocal, seen, speech, evidence.margin, reach)
    nats = np.interp(contrasts(band), evidence.contrast, evidence.weak if weak else evidence.nats)
    return np.where(np.isfinite(band), evidence.share * nats, 0).astype(np.float32)
