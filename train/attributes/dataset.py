"""Labelled videos, and who of them trains, chooses and tests."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synclip_core.errors import SyncLipError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Group:
    """A question: its name, kind (single | multi, as models.attributes.AttributeGroup) and labels in order."""

    name: str
    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """A video. single: group -> label; multi: label -> does it hold. What is not there is not known.

    subject: who is seen, "" where nobody says; split: the official one, "" where there is none.
    """

    path: Path
    single: dict[str, str]
    multi: dict[str, bool]
    subject: str = ""
    split: str = ""


@dataclass(frozen=True)
class Dataset:
    """licence: what the owners ask of those who use the data, for the report."""

    name: str
    groups: tuple[Group, ...]
    items: tuple[Item, ...]
    licence: str = ""


def with_splits(items: Sequence[Item], seed: int, shares: tuple[float, float] = (0.1, 0.1)) -> list[Item]:
    """Every item with a split: its own, else one drawn by subject, so that nobody is in two of them.

    shares: of the subjects in val and in test. A subject's place depends on the seed and its name alone: more data
    moves nobody, and small sets may miss a share. Raises SyncLipError where a split stays empty, or only some items
    have one.
    """
    if any(item.split for item in items):
        if not all(item.split in SPLITS for item in items):
            raise SyncLipError(f"split: expected {', '.join(SPLITS)} for every file, or no such column at all")
        done = list(items)
    else:
        subjects = sorted({_subject(item) for item in items}, key=lambda name: zlib.crc32(f"{seed} {name}".encode()))
        counts = [max(1, round(share * len(subjects))) for share in shares]
        val, test = subjects[: counts[0]], subjects[counts[0] : sum(counts)]
        place = dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
        done = [replace(item, split=place.get(_subject(item), "train")) for item in items]
    missing = [split for split in SPLITS if not any(item.split == split for item in done)]
    if missing:
        raise SyncLipError(
            f"no video for {', '.join(missing)}: {len(done)} videos of {len({_subject(item) for item in done})} "
            "subjects are too few to split by subject; give a split column, or more subjects"
        )
    return done


def _subject(item: Item) -> str:
    return item.subject or item.path.as_posix()
