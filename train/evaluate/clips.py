"""Which clips a split holds and which subset of the report each belongs to (clips.csv; evaluation.md, Sync)."""

from dataclasses import dataclass
from pathlib import Path

from synclip_core.errors import SyncLipError
from synclip_core.files.table import read_rows

# Subsets in the order of the report. Absolute lag counts on the trusted ones only.
SEEN, UNSEEN, WEB_REAL, WEB_GENERATED = "GRID seen speaker", "unseen trusted", "web real", "web generated"
SUBSETS = (SEEN, UNSEEN, WEB_REAL, WEB_GENERATED)
TRUSTED = (SEEN, UNSEEN)


@dataclass(frozen=True)
class Clip:
    """file: as in clips.csv; path: where it lies; identity: who is seen, the file's name where nobody says; source:
    where it is from."""

    file: str
    path: Path
    subset: str
    identity: str
    source: str = ""

    @property
    def trusted(self) -> bool:
        return self.subset in TRUSTED


def _subset(row: dict[str, str]) -> str:
    if row["sync"] == "trusted":
        # speaker s1 is in the training split; copies of s1 among the web clips are no unseen speaker
        seen = row["file"].startswith("grid_s1/") or "GRID s1 speaker" in (row.get("notes") or "")
        return SEEN if seen else UNSEEN
    return WEB_GENERATED if row["kind"] == "generated" else WEB_REAL


def read_clips(data: Path, split: str, exclude: Path | None = None) -> tuple[list[Clip], list[dict[str, str]]]:
    """The clips of one split of DATA/clips.csv, and those left out: [{file, reason}].

    exclude: a CSV with columns file, reason. SyncLipError when a table is missing, lacks a column or the split has no
    clip.
    """
    rows = read_rows(data / "clips.csv", ("file", "split", "kind", "sync"))
    reasons = {row["file"]: row["reason"] for row in read_rows(exclude, ("file", "reason"))} if exclude else {}
    chosen = [row for row in rows if row["split"] == split]
    if not chosen:
        known = ", ".join(sorted({row["split"] for row in rows}))
        raise SyncLipError(f"{data / 'clips.csv'}: no clip of split {split!r}; it has {known}")
    clips = [
        Clip(row["file"], data / row["file"], _subset(row), row.get("identity") or row["file"], row.get("source") or "")
        for row in chosen
        if row["file"] not in reasons
    ]
    left_out = [{"file": r["file"], "reason": reasons[r["file"]]} for r in chosen if r["file"] in reasons]
    return clips, left_out
