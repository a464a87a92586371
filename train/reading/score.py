"""Word and character error rates (evaluation.md, Visual speech recognition)."""

from dataclasses import dataclass, field

import jiwer

from train.data.texts import plain


@dataclass
class ErrorRate:
    """Over all clips given, as (S + D + I) / N."""

    said: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def add(self, said: str, read: str) -> None:
        self.said.append(plain(said))
        self.read.append(plain(read))

    @property
    def wer(self) -> float:
        """In percent."""
        return 100 * jiwer.wer(self.said, self.read) if self.said else float("nan")

    @property
    def cer(self) -> float:
        return 100 * jiwer.cer(self.said, self.read) if self.said else float("nan")

    def to_json(self) -> dict[str, float | int]:
        return {"clips": len(self.said), "wer": round(self.wer, 2), "cer": round(self.cer, 2)}
