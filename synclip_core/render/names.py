"""Names that are safe as files and folders on any system, for what comes from a manifest or from a server."""

import hashlib
import re
from pathlib import Path

from ..errors import SyncLipError

RESULTS, JOURNAL = "results.csv", "journal.jsonl"  # of the output folder, beside the rows' own folders
_LONGEST = 150  # bytes of UTF-8; file systems take 255, and AtomicFile's temporary name needs some
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}  # Windows'


def safe_name(text: str) -> str:
    """One path component: no separators, no control or shell characters, never "..", hidden, empty or a device."""
    name = re.sub(r"[^\w .,@+=()#-]", "_", text).strip(" .")
    stem, suffix = (name, "") if len(Path(name).suffix) > 10 else (Path(name).stem, Path(name).suffix)
    stem = stem.encode()[: _LONGEST - len(suffix.encode())].decode(errors="ignore").rstrip(" .")
    name = stem + suffix
    return f"_{name}" if not name or name.split(".")[0].lower() in _DEVICES else name


def upload_name(path: Path) -> str:
    """The file's name on a server: its own and 16 digits of its content's SHA-256.

    So an upload done again changes nothing, and equally named files of two folders stay apart. Only letters that no
    server takes for a path or an annotation ("clip.mp4 [input]"). Raises SyncLipError where the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise SyncLipError(f"{path}: cannot be read ({error.strerror or error}).") from error
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-")[:60] or "file"
    suffix = re.sub(r"[^A-Za-z0-9.]", "", path.suffix.lower())
    return f"{stem}-{digest.hexdigest()[:16]}{suffix}"


def distinct(name: str, node: str, taken: set[str]) -> str:
    """`name`, made safe, and told apart by its node and a number from those in `taken` (casefolded), which it joins."""
    first = safe_name(name)
    choices = [first, safe_name(f"{node}-{first}")]
    number = 2
    while choices[0].casefold() in taken:
        choices.pop(0)
        if not choices:
            choices = [safe_name(f"{node}-{number}-{first}")]
            number += 1
    taken.add(choices[0].casefold())
    return choices[0]
