"""What a reader writes in: characters, or unigram pieces (SentencePiece, Kudo 2018) learned from the training texts."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import atomic_path


class Speller(Protocol):
    """units: what can be written. spell: a text's units, each with the number of its word, None between words."""

    units: tuple[str, ...]

    def spell(self, text: str) -> list[tuple[str, int | None]]: ...


class Characters:
    """The letters found in the texts, and the space."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.units = tuple(sorted({letter for text in texts for letter in text}))

    def spell(self, text: str) -> list[tuple[str, int | None]]:
        spelled: list[tuple[str, int | None]] = []
        for number, word in enumerate(text.split()):
            spelled += [(" ", None)] if number else []
            spelled += [(letter, number) for letter in word]
        return spelled


class Pieces:
    """Unigram pieces; "▁" begins a word. The pieces of a run are learned once and kept in a file of SentencePiece's."""

    def __init__(self, path: Path, texts: Iterable[str], count: int) -> None:
        """Raises SyncLipError where the package is missing or the texts are too few for `count` pieces."""
        try:
            import sentencepiece
        except ImportError as error:
            raise SyncLipError("data.pieces: needs the package sentencepiece (pip install sentencepiece)") from error
        if not path.is_file():
            learned = io.BytesIO()
            try:
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(sorted(texts)),
                    model_writer=learned,
                    model_type="unigram",
                    vocab_size=count + 1,  # and the unknown
                    character_coverage=1.0,
                    bos_id=-1,
                    eos_id=-1,
                    num_threads=1,
                    minloglevel=2,
                )
            except RuntimeError as error:
                raise SyncLipError(f"data.pieces: {count} cannot be learned from these texts ({error})") from error
            with atomic_path(path) as temporary:
                temporary.write_bytes(learned.getvalue())
        self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.units = tuple(self._model.id_to_piece(k) for k in range(1, self._model.get_piece_size()))

    def spell(self, text: str) -> list[tuple[str, int | None]]:
        spelled: list[tuple[str, int | None]] = []
        for number, word in enumerate(text.split()):
            # a letter that no training text has cannot be written: it is left out
            spelled += [(piece, number) for piece in self._model.encode(word, out_type=str) if piece in self.units]
        return spelled
