"""Faces that should not talk: a listener whose mouth moves as if it did, or follows the voice.

Lips that open little are not told from lips at rest: a quarter of what is spoken goes unseen (`along.stretches.MOUTH`).
"""

from typing import Any

from ..errors import SyncLipError
from .report import ScoreReport

FOLLOWS = ("in_sync", "audio_early", "audio_late", "mixed", "drift")
OTHERS = "others"  # every face but that which the verdict is about


def parse_still(text: str) -> str:
    """ "others", or the place of a face as "X,Y" in pixels. SyncLipError on anything else."""
    name = text.replace(" ", "").lower()
    parts = name.split(",")
    if name == OTHERS or (len(parts) == 2 and all(part.isdecimal() for part in parts)):
        return name
    raise SyncLipError(f"still={text!r}: expected others, or the place of a face in pixels, such as 480,200")


def check_still(report: ScoreReport, faces: list[str]) -> None:
    """Adds to `report.still` a row a face, and to its words what is wrong.

    faces: of `parse_still`. A row: `face` and `moves` as in `report.tracks`; moves_s, their seconds; follows, whether
    its lips fit the voice at some lag. All but `face` are None where no face was found at that place.
    """
    for face in faces:
        tracks = [t for t in report.tracks if (not t["chosen"] if face == OTHERS else _inside(face, t["box"]))]
        rows: list[dict[str, Any]] = [{"face": track["face"], **_moves(track)} for track in tracks]
        missing = {"face": face, "moves": None, "moves_s": None, "follows": None}
        report.still += rows if rows or face == OTHERS else [missing]
    said = [words for row in report.still if (words := still_words(row))]
    report.words = "; ".join([report.words, *said])


def still_words(row: dict[str, Any]) -> str:
    """What is wrong with a face of `ScoreReport.still`, "" where nothing is."""
    if row["moves"] is None:
        return f"no face at {row['face']}, which should be still"
    wrong = "its lips follow the voice" if row["follows"] else ""
    if row["moves"] and not wrong:
        wrong = f"moves its mouth for {row['moves_s']:g} s"
    return f"the face at {row['face']} should be still and {wrong}" if wrong else ""


def _inside(face: str, box: list[int]) -> bool:
    x, y = map(int, face.split(","))
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _moves(track: dict[str, Any]) -> dict[str, Any]:
    seconds = round(sum(end - start for start, end in track["moves"]), 2)
    return {"moves": track["moves"], "moves_s": seconds, "follows": track["verdict"] in FOLLOWS}
