"""Whose sound: which audio track of a file is judged."""

from pathlib import Path

from av.stream import Disposition

from ...errors import SyncLipError
from ...media.container import open_input

TrackChoice = int | str | None  # a number from 0, "best", or None: what players play, if there is speech in it


def parse_track(text: str) -> TrackChoice:
    """ "best", "auto" or a number from 0. SyncLipError on anything else."""
    name = text.strip().lower()
    if name == "best":
        return "best"
    if name == "auto":
        return None
    if name.isdecimal():
        return int(name)
    raise SyncLipError(f"track={text!r}: expected auto, best or the number of an audio track, from 0")


def played_first(path: str | Path) -> list[int]:
    """The numbers of the audio tracks of a file, that first which players play: the first flagged default, else 0."""
    with open_input(path) as container:
        flags = [bool(stream.disposition & Disposition.default) for stream in container.streams.audio]
    first = flags.index(True) if True in flags else 0
    return [first, *(k for k in range(len(flags)) if k != first)] if flags else []
