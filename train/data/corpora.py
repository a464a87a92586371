"""Published corpora by where their files lie: which videos, whose face, which split (SyncLipMAE, section 5).

Official splits where there are any; what a corpus lacks of them is drawn: 100 videos for validation, 100 for test.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synclip_core.errors import SyncLipError

DRAWN = 100  # videos of a split that a corpus does not have, but no more than a tenth of it
YOUTUBE = "[A-Za-z0-9_-]{11}"


@dataclass(frozen=True)
class Corpus:
    """path: of a video below the corpus' folder, with the group `subject` where the path says who is seen.

    splits: folder of the first level -> split, or lists: split -> text file whose lines begin with a video's path
    below `within`, without its ending. sound: path of a video's sound, from the groups of `path`, where it lies apart.
    """

    example: str
    path: str
    licence: str = ""
    sync: str = "unknown"
    folders: tuple[tuple[str, str], ...] = ()
    lists: tuple[tuple[str, str], ...] = ()
    within: str = ""
    sound: str = ""


CORPORA = {
    "hallo3": Corpus("videos/NAME.mp4", r"(?:.*/)?(?P<subject>[^/]+)\.mp4"),
    "celebvhq": Corpus("YOUTUBEID_0.mp4", rf"(?:.*/)?(?P<subject>{YOUTUBE})_\d+\.mp4"),
    "celebvtext": Corpus("YOUTUBEID_0_0.mp4", rf"(?:.*/)?(?P<subject>{YOUTUBE})(?:_\d+)+\.mp4"),
    "mead": Corpus(
        "M003/video/front/angry/level_1/001.mp4",  # the other views see half of the mouth
        r"(?P<subject>[MW]\d{3})/video/front/(?P<take>\w+/level_\d/\d+)\.mp4",
        sound="{subject}/audio/{take}.m4a",
    ),
    "vfhq": Corpus(
        "Clip+YOUTUBEID+P0+C0+F100-200.mp4", rf"(?:.*/)?Clip\+(?P<subject>{YOUTUBE}\+P\d+)\+C\d+\+F\d+-\d+\.mp4"
    ),
    "hdtf": Corpus("RD_Radio1_000.mp4", r"(?:.*/)?(?P<subject>(?:RD|WDA|WRA)_[^/]+)_\d+\.mp4"),
    "ravdess": Corpus(
        "Actor_01/01-01-03-02-01-01-01.mp4",  # 01: with sound
        r"(?:.*/)?(?P<subject>Actor_\d\d)/01(?:-\d\d){6}\.mp4",
        "CC-BY-NC-SA-4.0",
    ),
    "lrs2": Corpus(
        "main/5535415699068794046/00001.mp4",
        r"(?:main|pretrain)/(?P<subject>\d+)/\d+\.mp4",
        folders=(("pretrain", "train"),),
        lists=(("train", "train.txt"), ("val", "val.txt"), ("test", "test.txt")),
        within="main",
    ),
    "lrs3": Corpus(
        "trainval/0Fi83BHQsMA/00002.mp4",
        r"(?:pretrain|trainval|test)/(?P<subject>[^/]+)/\d+\.mp4",
        folders=(("pretrain", "train"), ("trainval", "train"), ("test", "test")),
    ),
    "grid": Corpus("s1/bbaf2n.mpg", r"(?:.*/)?(?P<subject>s\d+)/(?:video/)?\w+\.(?:mpg|mp4)", "CC-BY-4.0", "trusted"),
}


def corpus_rows(folder: Path, name: str, seed: int = 0) -> list[dict[str, Any]]:
    """A row a video of the corpus, as train.prepare.list_videos gives them.

    Raises SyncLipError where the name is unknown or no file lies as in the corpus.
    """
    if name not in CORPORA:
        raise SyncLipError(f"layout {name!r}: expected one of {', '.join(CORPORA)}")
    corpus = CORPORA[name]
    listed = _listed(folder, corpus)
    rows = []
    for path in sorted(folder.rglob("*.m*")):
        file = path.relative_to(folder).as_posix()
        found = re.fullmatch(corpus.path, file)
        if not found:
            continue
        split = dict(corpus.folders).get(file.split("/")[0]) or listed.get(file.rsplit(".", 1)[0], "")
        if corpus.lists and not split:
            continue  # of a main folder, in none of its lists
        row = {
            "file": file,
            "split": split or "train",
            "kind": "real",
            "sync": corpus.sync,
            "source": name,
            "subject": f"{name}/{found['subject']}",
            "licence": corpus.licence,
        }
        sound = corpus.sound.format(**found.groupdict())
        if sound and (folder / sound).is_file():
            row["sound"] = sound
        rows.append(row)
    if not rows:
        raise SyncLipError(f"{folder}: no video lies as in {name}, such as {corpus.example}")
    official = {split for _, split in corpus.folders} | {split for split, _ in corpus.lists}
    return draw_splits(rows, [split for split in ("val", "test") if split not in official], seed)


def draw_splits(rows: Sequence[dict[str, Any]], missing: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """The rows with DRAWN training videos at random in each missing split; a video's place does not depend on others'
    names, so that a corpus that grows keeps most of its splits."""
    training = [row["file"] for row in rows if row["split"] == "train"]
    order = sorted(training, key=lambda file: zlib.crc32(f"{seed} {file}".encode()))
    count = min(DRAWN, len(training) // 10)
    place = {file: split for k, split in enumerate(missing) for file in order[k * count : (k + 1) * count]}
    return [{**row, "split": place.get(row["file"], row["split"])} for row in rows]


def _listed(folder: Path, corpus: Corpus) -> dict[str, str]:
    found = {}
    for split, name in corpus.lists:
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise SyncLipError(f"{folder / name}: the corpus' list of split {split} cannot be read") from error
        found |= {f"{corpus.within}/{line.split()[0]}": split for line in lines if line.strip()}
    return found
