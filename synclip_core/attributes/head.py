"""Attributes from motion tokens: linear heads on frozen features (SyncLipMAE, sections 4.2 and 5)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("single", "multi")
SCOPES = ("clip", "frame")
BLOCK = 4096  # frames at once: an hour of video needs no more memory than three minutes


@dataclass(frozen=True)
class AttributeGroup:
    """Labels that one question asks for. kind: single (one of them holds, softmax) | multi (each for itself, sigmoid).

    per: what the labels were given for, a whole clip or each frame; it decides how a clip is put into words.
    thresholds: one a label; the probability from which it is said to hold. temperature: the logits are divided by it,
    so that a probability is a frequency (Guo et al. 2017).
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    per: str = "clip"
    temperature: float = 1.0


@dataclass(frozen=True)
class AttributeHead:
    """weight: float32 [L, dim], bias: float32 [L], the labels of all groups one after the other.

    model: sha256 of the checkpoint whose tokens it was trained on; profile: its name, for messages; record: how it was
    trained, plain JSON data; ambient_weight: of the ambient tokens in `motion_features`.
    """

    groups: tuple[AttributeGroup, ...]
    weight: np.ndarray
    bias: np.ndarray
    model: str
    profile: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    ambient_weight: float = 1.0

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for group in self.groups for label in group.labels)

    def parts(self) -> list[tuple[AttributeGroup, slice]]:
        """Each group and its columns."""
        ends = np.cumsum([len(group.labels) for group in self.groups])
        starts = [0, *ends[:-1]]
        return [(group, slice(int(a), int(b))) for group, a, b in zip(self.groups, starts, ends, strict=True)]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [T, dim] of `motion_features` -> float32 [T, L]."""
        return (features @ self.weight.T + self.bias).astype(np.float32)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float [..., L] -> the same, 0..1: softmax over each single group, sigmoid in multi ones."""
        found = np.empty(logits.shape, np.float32)
        for group, part in self.parts():
            scaled = logits[..., part].astype(np.float64) / group.temperature
            found[..., part] = softmax(scaled) if group.kind == "single" else sigmoid(scaled)
        return found


def motion_features(vocal: np.ndarray, ambient: np.ndarray, ambient_weight: float = 1.0) -> np.ndarray:
    """The motion descriptor (v + a) / 2 of section 4.2, both L2-normalised first, a then times `ambient_weight`. Two of
    [T, dim] -> float32 [T, dim].

    The pipeline's vocal tokens have length 1 and its ambient tokens whatever length their projection gave (about 9 in
    the bundled checkpoint), which no loss sets: averaged as they come, their balance is an accident of the checkpoint.
    So both are brought to length 1, which needs no statistics of a training set, and the balance is one number that
    the validation split chooses and the head keeps. Tokens of zeros (no face) stay zeros.
    """
    return ((unit(vocal) + ambient_weight * unit(ambient)) / 2).astype(np.float32)


def unit(tokens: np.ndarray) -> np.ndarray:
    """Each row at length 1; rows of zeros stay zeros."""
    length = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens / np.maximum(length, 1e-12)


def uniform_frames(valid: np.ndarray, count: int) -> np.ndarray:
    """int64: indices of `count` frames spread evenly over the valid ones, the middle of each of `count` equal
    stretches; all of them where count is 0 or there are no more.

    Section 5: 16 or 80 uniformly sampled frames a clip.
    """
    seen = np.flatnonzero(valid)
    if count <= 0 or count >= len(seen):
        return seen
    return seen[((np.arange(count) + 0.5) * len(seen) / count).astype(np.int64)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Without overflow at either end."""
    return 0.5 * (1 + np.tanh(0.5 * logits))
