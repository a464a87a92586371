"""`train.evaluate attributes`: a head that is there, on a split (evaluation.md, Facial understanding)."""

import tempfile
from pathlib import Path
from typing import Any

from synclip_core.attributes.head import AttributeGroup, AttributeHead
from synclip_core.attributes.head_file import load_head, require_match
from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline
from train.attributes import derived
from train.attributes.dataset import Group, with_splits
from train.attributes.features import FeatureCache
from train.attributes.frames import frame_samples
from train.attributes.layouts import table
from train.attributes.results.figures import group_figures, known_rows
from train.attributes.results.text import classes_text
from train.attributes.samples import MOTION, Samples, clip_samples, rows_of, weigh_ambient

from .tables import format_table, percent

FRAMES = (16, 80)


def evaluate_attributes(
    data: Path,
    split: str,
    head_path: Path | None = None,
    cache: Path | None = None,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
    exclude: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The head's figures on a split of data/clips.csv.

    A head of labels a frame is held against the derived labels; one of labels a clip against the columns of clips.csv
    that are named like its groups (single) or labels (multi), at 16 and at 80 frames. Accuracy of the largest class of
    the split stands beside it. seed: of the split by subject, where clips.csv has none. Raises SyncLipError where a
    label is in no column, or the head belongs to another checkpoint.
    """
    head = load_head(head_path)
    pipeline = SyncPipeline(checkpoint, device=device)
    require_match(head, pipeline.checkpoint.sha256, pipeline.model.config.dim)
    with tempfile.TemporaryDirectory() as scratch:
        features = FeatureCache(pipeline, cache or Path(scratch))
        samples = _samples(data, split, head, features, exclude, seed)
        for part in samples.values():
            weigh_ambient(part, head.ambient_weight)
        tables = [
            _entry(head, index, name, part, subset)
            for index in range(len(head.groups))
            for name, part in samples.items()
            for subset in part.subsets()
        ]
    last = list(samples.values())[-1]
    return {
        "program": "train.evaluate attributes",
        "head": str(head_path or "bundled"),
        "record": head.record,
        "checkpoint": head.model,
        "split": split,
        "seed": seed,
        "clips": {subset: last.clip_count(subset) for subset in last.subsets()},
        "refused": last.refused,
        "groups": [entry for entry in tables if entry["count"]],
    }


def _samples(
    data: Path, split: str, head: AttributeHead, cache: FeatureCache, exclude: Path | None, seed: int
) -> dict[str, Samples]:
    """Name of a way to sample -> the split, its truth by the head's groups."""
    groups = [Group(group.name, group.kind, group.labels) for group in head.groups]
    if all(group.per == "frame" for group in head.groups):
        if any(group not in derived.GROUPS for group in groups):
            raise SyncLipError("the head has labels of frames that cannot be derived; only a bundled kind of head can")
        return {"frames": frame_samples(data, split, cache, exclude=exclude)}
    names = [n for group in groups for n in ((group.name,) if group.kind == "single" else group.labels)]
    found = table.read(data / "clips.csv", names)
    items = [item for item in with_splits(found.items, seed) if item.split == split]
    if not items:
        raise SyncLipError(f"{data / 'clips.csv'}: no clip of split {split!r}")
    for item in items:
        for group in groups:
            label = item.single.get(group.name)
            if label is not None and label not in group.labels:
                raise SyncLipError(f"{item.path}: {group.name} is {label!r}, which the head does not know")
    return {f"{n} frames": clip_samples(items, groups, cache, n) for n in FRAMES}


def _entry(head: AttributeHead, index: int, name: str, samples: Samples, subset: str) -> dict[str, Any]:
    described, part = head.parts()[index]
    group = Group(described.name, described.kind, described.labels)
    chosen = rows_of(samples, subset)
    truth = samples.truth[group.name][chosen]
    p = head.probabilities(head.logits(samples.features[MOTION][chosen]))[:, part]
    found = group_figures(p, truth, group, _thresholds(described))
    rows = truth[known_rows(truth)]
    return {
        "group": group.name,
        "kind": group.kind,
        "sampled": name,
        "subset": subset,
        "clips": samples.clip_count(subset),
        "largest_class": _largest(found, len(rows), group),
        **found,
    }


def _thresholds(group: AttributeGroup) -> tuple[float, ...] | None:
    return group.thresholds if group.kind == "multi" else None


def _largest(found: dict[str, Any], count: int, group: Group) -> float | None:
    """Accuracy of the split's own largest class: nobody who has not seen the test labels does better by a constant."""
    if not count:
        return None
    if group.kind == "single":
        return max(item["positives"] for item in found["classes"]) / count
    parts = [item["majority"] for item in found["classes"] if item["count"]]
    return sum(parts) / len(parts)


def attributes_text(report: dict[str, Any]) -> str:
    """The report as tables."""
    rows = [
        {
            "group": entry["group"],
            "sampled": entry["sampled"],
            "subset": entry["subset"],
            "clips": entry["clips"],
            "count": entry["count"],
            "largest class %": percent(entry["largest_class"]),
            "accuracy %": percent(entry["accuracy"]),
            "macro AUC %": percent(entry["macro_auc"]),
            "ECE %": percent(entry["ece"]),
        }
        for entry in report["groups"]
    ]
    title = f"attributes, head {report['head']}, split {report['split']}, {len(report['refused'])} clips refused"
    parts = [format_table(title, rows)]
    for group in dict.fromkeys(entry["group"] for entry in report["groups"]):
        own = [entry for entry in report["groups"] if entry["group"] == group]
        sampled = own[-1]["sampled"]
        parts.append(classes_text(group, {e["subset"]: e["classes"] for e in own if e["sampled"] == sampled}))
    return "\n\n".join(parts)
