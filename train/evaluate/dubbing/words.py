"""Can a lip reader read from a dubbed mouth what it was dubbed to say?"""

from pathlib import Path

from synclip_core.errors import SyncLipError
from synclip_core.reading.read import read_lips
from synclip_core.reading.reader_file import Reader, load_reader
from train.data.texts import Spoken, text_of

from ..clips import Clip
from ..reading_report import read_texts
from .judge import Judge


class Words:
    """eye: whose tokens the reader reads. The same tokens drive the dub, so what it reads is no proof that a reader
    with an encoder of its own would."""

    def __init__(self, reader: Reader, eye: Judge, texts: dict[str, Spoken]) -> None:
        reader.check(eye.pipeline.checkpoint.sha256)
        self.reader, self.eye, self.texts = reader, eye, texts

    def read(self, video: Path, clip: Clip, ticks: int) -> dict[str, str] | None:
        """said: in `clip`; read: from the first `ticks` of `video`. None where nobody knows what is said."""
        spoken = text_of(self.texts, clip.file)
        if spoken is None:
            return None
        seen = self.eye.look(video).tokens
        found = read_lips(self.reader, seen.vocal[:ticks], seen.valid[:ticks], str(video))
        return {"said": spoken.text, "read": found.text}


def open_words(eye: Judge, data: Path, reader: Path | None, texts: Path | None, layout: str) -> Words | None:
    """None where nothing was asked for and what is bundled does not fit: a reader of other tokens, clips of unknown
    words."""
    try:
        return Words(load_reader(reader), eye, read_texts(data, texts, layout))
    except SyncLipError:
        if reader is None and texts is None:
            return None
        raise
