"""Lip reading of a video of any length: vocal tokens in, a Transcript out, window by window in flat memory."""

from collections.abc import Callable

import numpy as np
import torch

from ..clock import FPS
from .beam import SearchOptions, search
from .ctc import align
from .network import BLANK
from .reader_file import Reader
from .transcript import Transcript, Word

OVERLAP_S = 1.5  # of two windows: what is cut in half by one is whole in the other
BRIDGE = 5  # ticks without a face that do not end a stretch
LEAST = 5  # ticks; a mouth seen for less says nothing

Progress = Callable[[int, int], None]


def read_lips(
    reader: Reader,
    vocal: np.ndarray,
    valid: np.ndarray,
    file: str = "",
    progress: Progress | None = None,
    options: SearchOptions | None = None,
) -> Transcript:
    """vocal: float [T, dim], L2-normalised vocal tokens; valid: bool [T], ticks with a face.

    Works on any length, without a face and on silence: then the verdict is "nothing" or "unsure". progress(done, total)
    counts ticks and may raise to cancel. options: of the search; the reader's own if not given.
    """
    words: list[Word] = []
    for start, stop in _windows(valid, round(reader.network.config.window_s * FPS)):
        if progress is not None:
            progress(start, len(valid))
        found = _read_window(reader, vocal[start:stop], valid[start:stop], start / FPS, options or reader.search)
        words = _joined(words, found, start / FPS + OVERLAP_S / 2)
    transcript = Transcript(
        file,
        "read",
        words,
        duration_s=len(valid) / FPS,
        face_s=float(valid.sum()) / FPS,
        reads=reader.metadata.get("reads", ""),
    )
    if not words:
        transcript.verdict = "nothing"
        transcript.note = "no face was found" if not valid.any() else "nothing was read"
        return transcript
    letters = np.array([len(word.text) for word in words])
    transcript.confidence = float((letters * [word.confidence for word in words]).sum() / letters.sum())
    if transcript.confidence < reader.min_confidence:
        transcript.verdict = "unsure"
        transcript.note = f"unsure: this reader reads {transcript.reads}" if transcript.reads else "unsure"
    return transcript


def _windows(valid: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Stretches of the face, cut into overlapping windows of at most `size` ticks."""
    overlap = min(round(OVERLAP_S * FPS), size // 2)
    seen = np.flatnonzero(valid)
    if not len(seen):
        return []
    breaks = np.flatnonzero(np.diff(seen) > BRIDGE + 1)
    begins, ends = seen[np.r_[0, breaks + 1]], seen[np.r_[breaks, len(seen) - 1]] + 1
    windows = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if end - begin < LEAST:
            continue
        while end - begin > size:
            windows.append((begin, begin + size))
            begin += size - overlap
        windows.append((begin, end))
    return windows


def _joined(before: list[Word], after: list[Word], middle: float) -> list[Word]:
    """Words of overlapping windows, each from the window that shows more around it."""
    if not before or not after or before[-1].end_s <= after[0].start_s:
        return before + after
    kept = [word for word in before if (word.start_s + word.end_s) / 2 < middle]
    kept += [word for word in after if (word.start_s + word.end_s) / 2 >= middle]
    return kept


@torch.inference_mode()
def _read_window(
    reader: Reader, vocal: np.ndarray, valid: np.ndarray, start_s: float, options: SearchOptions
) -> list[Word]:
    network, config = reader.network, reader.network.config
    device = next(network.parameters()).device
    tokens = torch.from_numpy(np.ascontiguousarray(vocal, np.float32))[None].to(device)
    seen = torch.from_numpy(np.ascontiguousarray(valid))[None].to(device)
    hidden = network.encode(tokens, seen)[:, seen[0]]
    units = np.array(search(network, hidden, options)[0].units, np.int64)
    log_probs = network.ctc_log_probs(hidden)[0].double().cpu().numpy()
    spans = align(log_probs, units, BLANK)
    if spans is None:  # the decoder's text, which CTC cannot place: spread it evenly
        edges = np.linspace(0, len(log_probs), len(units) + 1).astype(int)
        spans = np.stack([edges[:-1], edges[1:]], 1)
    # a row's place in the window, in rows: those of ticks without a face were left out
    where = (np.flatnonzero(valid)[:, None] * config.upsample + np.arange(config.upsample)).flatten()
    worth = [
        float(log_probs[a : max(b, a + 1), unit].max()) for unit, (a, b) in zip(units, spans.tolist(), strict=True)
    ]
    step = 1 / (FPS * config.upsample)
    words: list[Word] = []
    for part in _words_of([config.units[unit - 1] for unit in units]):
        text = "".join(config.units[units[k] - 1] for k in part).replace("▁", "")
        begin, end = where[spans[part[0], 0]], where[spans[part[-1], 1] - 1] + 1
        confidence = float(np.exp(np.mean([worth[k] for k in part])))
        words.append(Word(text, start_s + float(begin) * step, start_s + float(end) * step, confidence))
    return words


def _words_of(units: list[str]) -> list[list[int]]:
    """Indices of the units of each word: letters between spaces, or pieces from one "▁" to the next."""
    words: list[list[int]] = [[]]
    for k, unit in enumerate(units):
        if unit == " ":
            words.append([])
            continue
        if unit.startswith("▁"):
            words.append([])
        words[-1].append(k)
    return [word for word in words if word]
