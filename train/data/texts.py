"""What is said in which video: the layouts that lip-reading corpora are published in, and a plain CSV."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from synclip_core.errors import SyncLipError
from synclip_core.files.table import read_rows

Layout = Literal["csv", "aligned", "grid", "lrs"]
LAYOUTS: tuple[str, ...] = get_args(Layout)
SILENCE = {"sil", "sp", "<sil>", ""}


@dataclass(frozen=True)
class Spoken:
    """text: lower case, words with a space between. words: (word, start_s, end_s) where the times are known."""

    text: str
    words: tuple[tuple[str, float, float], ...] = ()


def read_corpus(source: str | Path, layout: str) -> dict[str, Spoken]:
    """Video file, relative to its corpus and without its ending -> what is said in it.

    csv: columns file, text. aligned: columns file, start_s, end_s, word, a row a word; times may
    be empty.
    grid: GRID as published, SPEAKER/align/NAME.align beside SPEAKER/NAME.mpg.
    lrs: LRS2 and LRS3 as published, NAME.txt beside NAME.mp4, its first line "Text:  HELLO THERE".
    Splits are those of the shards.
    Raises SyncLipError where the source holds nothing of that layout.
    """
    readers = {"csv": _read_csv, "aligned": _read_aligned, "grid": _read_grid, "lrs": _read_lrs}
    if layout not in readers:
        raise SyncLipError(f"layout {layout!r}: expected one of {', '.join(readers)}")
    try:
        found = readers[layout](Path(source))
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise SyncLipError(f"{source}: not readable as layout {layout} ({type(error).__name__}: {error})") from error
    if not found:
        raise SyncLipError(f"{source}: no text found in layout {layout}")
    return found


def plain(text: str) -> str:
    """Lower case, letters, digits and apostrophes, one space between words (evaluation.md: without punctuation)."""
    return " ".join(re.sub(r"[^\w' ]|_", " ", text.lower()).split())


def stem(file: str) -> str:
    """ "a/b.mp4" -> "a/b", the key of `read_corpus`."""
    return file.rsplit(".", 1)[0] if "." in Path(file).name else file


def text_of(corpus: dict[str, Spoken], file: str) -> Spoken | None:
    """What a video says; corpora name it by its path or by its bare name."""
    return corpus.get(stem(file)) or corpus.get(Path(stem(file)).name)


def _read_csv(path: Path) -> dict[str, Spoken]:
    return {stem(row["file"]): Spoken(plain(row["text"])) for row in read_rows(path, ("file", "text"))}


def _read_aligned(path: Path) -> dict[str, Spoken]:
    words: dict[str, list[tuple[str, float, float]]] = {}
    for row in read_rows(path, ("file", "word", "start_s", "end_s")):
        said = words.setdefault(stem(row["file"]), [])
        if row["word"] not in SILENCE:
            start, end = (float(row[name] or "nan") for name in ("start_s", "end_s"))
            said.append((plain(row["word"]), start, end))
    return {file: _spoken(said) for file, said in words.items()}


def _read_grid(folder: Path) -> dict[str, Spoken]:
    found = {}
    for path in sorted(folder.glob("*/align/*.align")) + sorted(folder.glob("align/*/*.align")):
        speaker = path.parent.parent.name if path.parent.name == "align" else path.parent.name
        said = []
        for line in path.read_text(encoding="utf-8").splitlines():
            start, end, word = line.split()
            if word not in SILENCE:
                said.append((plain(word), int(start) / 25_000, int(end) / 25_000))  # 1000 units a frame at 25 fps
        found[f"{speaker}/{path.stem}"] = _spoken(said)
    return found


def _read_lrs(folder: Path) -> dict[str, Spoken]:
    found = {}
    for path in sorted(folder.rglob("*.txt")):
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if not first.startswith("Text:"):
            continue
        key = path.relative_to(folder).with_suffix("").as_posix()
        words = []
        for line in rest.splitlines():
            fields = line.split()
            if len(fields) >= 3 and fields[0] != "WORD" and _is_number(fields[1]) and _is_number(fields[2]):
                words.append((plain(fields[0]), float(fields[1]), float(fields[2])))
        found[key] = Spoken(plain(first.removeprefix("Text:")), tuple(words))
    return found


def _spoken(words: list[tuple[str, float, float]]) -> Spoken:
    timed = all(math.isfinite(time) for _, *times in words for time in times)
    return Spoken(" ".join(word for word, _, _ in words), tuple(words) if timed else ())


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None
