"""Heads and their baselines on three splits: fitted on train, chosen on val, reported on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synclip_core.attributes.calibration import fit_temperature
from synclip_core.attributes.head import AttributeGroup, AttributeHead
from synclip_core.errors import SyncLipError
from synclip_core.metrics.classification import best_threshold

from .dataset import Group
from .fit import L2, UNKNOWN, Linear, fit_linear
from .results.figures import group_figures, known_rows, majority_figures, probabilities
from .samples import MOTION, SOURCES, Samples, rows_of, weigh_ambient

MAJORITY = "majority class"
AMBIENT_WEIGHTS = (1.0, 4.0, 16.0)


@dataclass(frozen=True)
class Fitted:
    """A linear layer with what the validation split chose for it."""

    linear: Linear
    l2: float
    temperature: float
    thresholds: tuple[float, ...]
    val_auc: float


def fit_group(train: Samples, val: Samples, group: Group, source: str) -> Fitted:
    """The penalty with the best macro AUC on val, then temperature and thresholds on val too.

    Raises SyncLipError where a label is without examples in train.
    """
    truth, held = train.truth[group.name], val.truth[group.name]
    _require_examples(truth, group)
    x, rows = val.features[source], known_rows(held)
    if not rows.any():
        raise SyncLipError(f"{group.name}: no example in the validation split")
    best: tuple[float, float, Linear] | None = None
    for l2 in L2:
        linear = fit_linear(train.features[source], truth, group.kind, len(group.labels), l2)
        area = group_figures(probabilities(linear(x), group), held, group)["macro_auc"]
        if best is None or (area or 0.0) > best[0]:
            best = (area or 0.0, l2, linear)
    assert best is not None
    area, l2, linear = best
    logits = linear(x[rows])
    temperature = _temperature(logits, held[rows], group)
    thresholds = tuple(0.0 for _ in group.labels)
    if group.kind == "multi":
        thresholds = _thresholds(probabilities(logits, group, temperature), held[rows])
    return Fitted(linear, l2, temperature, thresholds, area)


def _require_examples(truth: np.ndarray, group: Group) -> None:
    for k, label in enumerate(group.labels):
        column = truth == k if group.kind == "single" else truth[:, k] == 1
        if not column.any():
            raise SyncLipError(f"{group.name}: no training example of {label!r}; leave the label out or add videos")


def _temperature(logits: np.ndarray, truth: np.ndarray, group: Group) -> float:
    if group.kind == "multi":  # labels that are not known are left out one by one
        known = truth != UNKNOWN
        return fit_temperature(logits[known][:, None], (truth[known] == 1)[:, None], "multi")
    return fit_temperature(logits, truth, "single")


def _thresholds(probability: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    found = []
    for k in range(truth.shape[1]):
        known = truth[:, k] != UNKNOWN
        positive = truth[known, k] == 1
        both = positive.any() and not positive.all()
        found.append(best_threshold(probability[known, k], positive) if both else 0.5)
    return tuple(found)


def fit_all(train: Samples, val: Samples, groups: Sequence[Group]) -> tuple[float, dict[str, dict[str, Fitted]]]:
    """The ambient token's weight with the best mean AUC on val, and group -> source -> fitted: the head and every
    probe, all treated alike. Leaves MOTION of both samples weighed so."""
    trials: dict[float, dict[str, Fitted]] = {}
    for weight in AMBIENT_WEIGHTS:
        for samples in (train, val):
            weigh_ambient(samples, weight)
        trials[weight] = {group.name: fit_group(train, val, group, MOTION) for group in groups}
    best = max(trials, key=lambda weight: float(np.mean([fit.val_auc for fit in trials[weight].values()])))
    for samples in (train, val):
        weigh_ambient(samples, best)
    fitted = {
        group.name: {
            name: trials[best][group.name] if name == MOTION else fit_group(train, val, group, name) for name in SOURCES
        }
        for group in groups
    }
    return best, fitted


def make_head(
    groups: Sequence[Group],
    fitted: Mapping[str, Mapping[str, Fitted]],
    per: str,
    model: str,
    profile: str,
    record: dict[str, Any],
    ambient_weight: float,
) -> AttributeHead:
    """The head file's content, from the fits on MOTION."""
    own = [fitted[group.name][MOTION] for group in groups]
    described = tuple(
        AttributeGroup(group.name, group.kind, group.labels, fit.thresholds, per, fit.temperature)
        for group, fit in zip(groups, own, strict=True)
    )
    weight = np.concatenate([fit.linear.weight for fit in own]).astype(np.float32)
    bias = np.concatenate([fit.linear.bias for fit in own]).astype(np.float32)
    return AttributeHead(described, weight, bias, model, profile, record, ambient_weight)


def report_tables(
    groups: Sequence[Group],
    fitted: Mapping[str, Mapping[str, Fitted]],
    train: Samples,
    tests: Mapping[str, Samples],
) -> list[dict[str, Any]]:
    """One entry a group: rows (features, subset, count, accuracy, macro AUC, ECE before and after temperature) and the
    head's classes. tests: name of a way to sample frames -> the test split sampled so; probes are shown for the
    last."""
    entries = []
    for group in groups:
        rows: list[dict[str, Any]] = []
        last = list(tests)[-1]
        for name, test in tests.items():
            for subset in test.subsets():
                chosen = rows_of(test, subset)
                truth = test.truth[group.name][chosen]
                if not known_rows(truth).any():
                    continue
                sources = list(SOURCES) if name == last else [MOTION]
                for source in sources:
                    fit = fitted[group.name][source]
                    logits = fit.linear(test.features[source][chosen])
                    raw = group_figures(probabilities(logits, group), truth, group)
                    after = group_figures(probabilities(logits, group, fit.temperature), truth, group)
                    label = f"{source}, {name}" if source == MOTION and len(tests) > 1 else source
                    rows.append(_row(label, subset, test, after, raw["ece"]))
                if name == last:
                    most = majority_figures(train.truth[group.name], truth, group)
                    rows.append(_row(MAJORITY, subset, test, most, None))
        fit = fitted[group.name][MOTION]
        test = tests[last]
        p = probabilities(fit.linear(test.features[MOTION]), group, fit.temperature)
        thresholds = fit.thresholds if group.kind == "multi" else None
        classes = {
            subset: group_figures(
                p[rows_of(test, subset)], test.truth[group.name][rows_of(test, subset)], group, thresholds
            )["classes"]
            for subset in test.subsets()
        }
        chosen_on_val = {
            name: {"l2": f.l2, "temperature": f.temperature, "thresholds": list(f.thresholds), "val_auc": f.val_auc}
            for name, f in fitted[group.name].items()
        }
        entries.append(
            {"group": group.name, "kind": group.kind, "rows": rows, "classes": classes, "chosen_on_val": chosen_on_val}
        )
    return entries


def _row(label: str, subset: str, test: Samples, found: dict[str, Any], raw: float | None) -> dict[str, Any]:
    return {
        "features": label,
        "subset": subset,
        "clips": test.clip_count(subset),
        "count": found["count"],
        "accuracy": found["accuracy"],
        "macro_auc": found["macro_auc"],
        "ece": found["ece"],
        "ece_uncalibrated": raw,
    }
