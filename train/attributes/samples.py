"""What a head is fitted on: one vector a clip or a frame from each source of features, and the labels as numbers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from synclip_core.attributes.head import motion_features, uniform_frames, unit
from synclip_core.errors import SyncLipError

from .dataset import Group, Item
from .features import FeatureCache, Features
from .fit import UNKNOWN

ALL = "all"
MOTION = "(vocal + ambient) / 2"
VOCAL, AMBIENT = "vocal token", "ambient token"
# The head's own features, and the probes that say what these are worth.
SOURCES: dict[str, Callable[[Features], np.ndarray]] = {
    MOTION: lambda f: motion_features(f.vocal, f.ambient),
    VOCAL: lambda f: unit(f.vocal),
    AMBIENT: lambda f: unit(f.ambient),
    "identity token": lambda f: unit(f.identity),
    "raw pixels": lambda f: f.pixels / 255,
}


@dataclass
class Samples:
    """features: source -> float32 [n, D]; truth: group -> int [n] (single) or [n, L] (multi), UNKNOWN where not known;
    part: the subset of each sample, for the report; clip: which clip each is of."""

    features: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    part: np.ndarray
    clip: np.ndarray
    clips: int
    refused: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clip)

    def subsets(self) -> list[str]:
        """ "all", and where there are several parts each of them."""
        parts = sorted(set(self.part))
        return parts if len(parts) < 2 else [ALL, *parts]

    def clip_count(self, subset: str) -> int:
        """Clips that the rows of a subset come from."""
        return len(np.unique(self.clip[rows_of(self, subset)]))


def weigh_ambient(samples: Samples, weight: float) -> None:
    """Makes features[MOTION] anew, with another weight of the ambient token (models.attributes.motion_features)."""
    vocal, ambient = samples.features[VOCAL], samples.features[AMBIENT]
    samples.features[MOTION] = (vocal + np.float32(weight) * ambient) / 2


def rows_of(samples: Samples, subset: str) -> np.ndarray:
    """bool [n]."""
    return np.ones(len(samples), bool) if subset == ALL else samples.part == subset


class Builder:
    """Collects rows, clip after clip."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = tuple(groups)
        self._features: dict[str, list[np.ndarray]] = {name: [] for name in SOURCES}
        self._truth: dict[str, list[np.ndarray]] = {group.name: [] for group in self.groups}
        self._part: list[np.ndarray] = []
        self._clip: list[np.ndarray] = []
        self._clips = 0

    def add(self, features: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], part: str) -> None:
        """features: source -> [k, D]; truth: group -> [k] or [k, L]."""
        count = len(next(iter(features.values())))
        for name, rows in features.items():
            self._features[name].append(rows.astype(np.float32))
        for name, rows in truth.items():
            self._truth[name].append(rows)
        self._part.append(np.full(count, part, dtype=object))
        self._clip.append(np.full(count, self._clips))
        self._clips += 1

    def samples(self, refused: dict[str, str]) -> Samples:
        """Raises SyncLipError where no clip could be used."""
        if not self._clips:
            reasons = "; ".join(list(refused.values())[:3])
            raise SyncLipError(f"no video could be used. {reasons}")
        return Samples(
            {name: np.concatenate(rows) for name, rows in self._features.items()},
            {name: np.concatenate(rows) for name, rows in self._truth.items()},
            np.concatenate(self._part),
            np.concatenate(self._clip),
            self._clips,
            refused,
        )


def clip_samples(items: Iterable[Item], groups: Iterable[Group], cache: FeatureCache, frames: int) -> Samples:
    """One row a clip: the mean of its features over `frames` uniformly sampled frames (0: all).

    The mean of a linear head's logits is the head's logit of the mean, so this is section 5's average of frame logits.
    """
    builder, refused = Builder(groups), {}
    for item in items:
        try:
            features = cache.get(item.path)
        except SyncLipError as error:
            refused[str(item.path)] = str(error)
            continue
        chosen = uniform_frames(features.valid, frames)
        rows = {name: source(features)[chosen].mean(0, keepdims=True) for name, source in SOURCES.items()}
        builder.add(rows, {group.name: item_truth(item, group) for group in builder.groups}, ALL)
    return builder.samples(refused)


def item_truth(item: Item, group: Group) -> np.ndarray:
    """int [1] for a single group, [1, L] for a multi one."""
    if group.kind == "single":
        label = item.single.get(group.name)
        return np.array([UNKNOWN if label is None else group.labels.index(label)])
    return np.array([[int(item.multi[label]) if label in item.multi else UNKNOWN for label in group.labels]])
