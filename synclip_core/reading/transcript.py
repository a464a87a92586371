"""What was read from the lips: words with times and confidence, as text, SRT and JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

LINE = 42  # letters of a subtitle line, as broadcasters have it
PAUSE_S, CUE_S = 0.6, 6.0  # a subtitle ends at such a pause, or when it has stood so long


@dataclass(frozen=True)
class Word:
    """start_s, end_s: on the video's clock. confidence: 0..1, how sure the reader is of the word's letters."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass
class Transcript:
    """confidence: mean over the words, by their length in letters; None where nothing was read.

    verdict: "read", "unsure" (below what the reader needs to be better than a guess), "nothing" or "error".
    """

    file: str
    verdict: str
    words: list[Word] = field(default_factory=list)
    confidence: float | None = None
    duration_s: float | None = None
    face_s: float | None = None
    reads: str = ""
    note: str = ""

    @classmethod
    def failed(cls, file: str, error: object) -> "Transcript":
        return cls(file, "error", note=str(error))

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, None for what is undefined."""
        data = asdict(self)
        data["words"] = [
            {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(word).items()} for word in self.words
        ]
        data["confidence"] = None if self.confidence is None else round(self.confidence, 4)
        return {"file": data.pop("file"), "verdict": data.pop("verdict"), "text": self.text, **data}

    def to_srt(self) -> str:
        """SubRip subtitles; empty where nothing was read."""
        return "".join(
            f"{number}\n{_clock(cue[0].start_s)} --> {_clock(max(cue[-1].end_s, cue[0].start_s + 0.2))}\n"
            f"{' '.join(word.text for word in cue)}\n\n"
            for number, cue in enumerate(self.cues(), 1)
        )

    def cues(self) -> list[list[Word]]:
        """The words of each subtitle."""
        cues: list[list[Word]] = []
        for word in self.words:
            if cues:
                cue = cues[-1]
                letters = sum(len(w.text) + 1 for w in cue) + len(word.text)
                near = word.start_s - cue[-1].end_s < PAUSE_S and word.end_s - cue[0].start_s <= CUE_S
                if near and letters <= LINE:
                    cue.append(word)
                    continue
            cues.append([word])
        return cues


def _clock(seconds: float) -> str:
    ms = round(max(0.0, seconds) * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
