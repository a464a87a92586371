"""What a run tells while it runs: log.jsonl, pictures, and TensorBoard for those who want it. First process only."""

import json
import math
import os
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import close_quietly, save_png, write_error
from synclip_core.files.lock import taken_alone
from train.engine import distributed


class Journal:
    """Rows of OUT/log.jsonl, OUT/samples/STEP.png, and OUT/tensorboard."""

    def __init__(self, out: Path, tensorboard: bool = False) -> None:
        """Raises SyncLipError where TensorBoard is asked for and not installed, or the folder cannot be made."""
        self.out, self._board, self._file = out, None, None
        if distributed.rank() > 0:
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"{out}: this folder cannot be made ({error.strerror})") from error
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise SyncLipError("--tensorboard needs the package tensorboard (pip install tensorboard)") from error
            self._board = SummaryWriter(str(out / "tensorboard"))

    def __enter__(self) -> "Journal":
        """Raises SyncLipError where another run is at work in the folder, or the file cannot be written."""
        distributed.by_first(self._open)
        return self

    def _open(self) -> None:
        path = self.out / "log.jsonl"
        try:
            self._file: TextIO | None = open(path, "a", encoding="utf-8")
            if not taken_alone(self._file):
                self._file.close()
                raise SyncLipError(f"{self.out}: another run is at work in this folder; let it end, or choose another.")
            _cut_half_a_row(path)
        except OSError as error:
            raise write_error(path, error) from error

    def __exit__(self, *_: object) -> None:
        for opened in (self._file, self._board):
            if opened:
                close_quietly(opened.close)  # what could not be written has been told

    def write(self, step: int, row: dict[str, Any]) -> None:
        """A row of numbers, or of tables of them. JSON knows no infinity: what is not finite is null.

        Raises SyncLipError where the disk is full, as `picture` does.
        """
        if self._file is None:
            return
        plain = {k: _plain(v) for k, v in row.items()}
        try:
            self._file.write(json.dumps({"step": step, **plain}) + "\n")
            self._file.flush()
            if self._board:
                for name, value in _flat(row):
                    self._board.add_scalar(name, value, step)
        except OSError as error:
            raise write_error(self.out / "log.jsonl", error) from error

    def picture(self, step: int, image: Image.Image) -> None:
        if self._file is None:
            return
        path = self.out / "samples" / f"{step:07d}.png"
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        save_png(image, path)
        if self._board:
            self._board.add_image("samples", np.asarray(image), step, dataformats="HWC")


def _cut_half_a_row(path: Path) -> None:
    """A full disk or a kill may have cut the last row short; the next one would be glued to it."""
    if path.is_file():
        written = path.read_bytes()
        if not written.endswith(b"\n"):
            os.truncate(path, written.rfind(b"\n") + 1)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None  # what float32 tells apart
    return value


def _flat(row: dict[str, Any], before: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}/")
        elif isinstance(value, (int, float)):
            found.append((f"{before}{name}", float(value)))
    return found
