"""R-precision: rank the true video token among 31 others for each audio token (SyncLipMAE, section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .distance import as_mask, as_tokens

POOL = 32
MIN_GAP = 3  # same-clip pool: others at least this many frames away


@dataclass(frozen=True)
class RPrecision:
    """hits[k - 1] queries of `queries` ranked within the top k.

    `skipped`: queries without enough others (short clip).
    """

    queries: int = 0
    hits: tuple[int, int, int] = (0, 0, 0)
    skipped: int = 0

    def __add__(self, other: "RPrecision") -> "RPrecision":
        a, b = self.hits, other.hits
        return RPrecision(
            self.queries + other.queries, (a[0] + b[0], a[1] + b[1], a[2] + b[2]), self.skipped + other.skipped
        )

    def top(self, k: int) -> float | None:
        """Share of queries ranked within the top k (1, 2 or 3); None without queries. Chance k / 32."""
        return self.hits[k - 1] / self.queries if self.queries else None


def draw_distinct(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """For each row, `count` different integers drawn evenly from range(sizes[row]). sizes: int [M], each >= count.

    Each draw skips over those already drawn (kept sorted), so nothing is rejected: exact and the same for one
    generator state.
    """
    drawn = np.empty((len(sizes), count), dtype=np.int64)
    for j in range(count):
        value = generator.integers(0, sizes - j)
        for i in range(j):  # drawn[:, :j] is sorted
            value += value >= drawn[:, i]
        drawn[:, j] = value
        drawn[:, : j + 1].sort(axis=1)
    return drawn


def _count(own: np.ndarray, others: np.ndarray, generator: np.random.Generator) -> tuple[int, int, int]:
    """own: [M], others: [M, pool - 1] distances. Ties fall at random: a constant token ranks at chance, not first."""
    tie = np.isclose(others, own[:, None], rtol=0, atol=1e-6)
    better = ((others < own[:, None]) & ~tie).sum(1)
    rank = 1 + better + generator.integers(0, tie.sum(1) + 1)
    return int((rank <= 1).sum()), int((rank <= 2).sum()), int((rank <= 3).sum())


def same_clip(
    audio: Any,
    vocal: Any,
    generator: np.random.Generator,
    valid: Any = None,
    *,
    pool: int = POOL,
    min_gap: int = MIN_GAP,
) -> RPrecision:
    """Others: frames of the same clip at least `min_gap` frames away. audio, vocal: [T, D]; one query for each frame
    with a face.

    Queries with fewer than pool - 1 such frames (clips under about 36 frames) are skipped and counted.
    """
    a, v = as_tokens(audio, "audio"), as_tokens(vocal, "vocal")
    faces = np.flatnonzero(as_mask(valid, len(v)))
    if not len(faces):
        return RPrecision()
    low = np.searchsorted(faces, faces - min_gap, side="right")
    high = np.searchsorted(faces, faces + min_gap, side="left")
    sizes = len(faces) - (high - low)
    usable = sizes >= pool - 1
    queries, low, high = faces[usable], low[usable], high[usable]
    drawn = draw_distinct(sizes[usable], pool - 1, generator)
    others = faces[drawn + (drawn >= low[:, None]) * (high - low)[:, None]]
    distance = 1 - a[queries] @ v.T if len(queries) else np.empty((0, len(v)), np.float32)
    hits = _count(distance[np.arange(len(queries)), queries], np.take_along_axis(distance, others, 1), generator)
    return RPrecision(len(queries), hits, int((~usable).sum()))


def mixed(
    clips: Sequence[tuple[Any, Any, Any]], generator: np.random.Generator, *, pool: int = POOL, block: int = 1024
) -> list[RPrecision]:
    """Others: frames with a face drawn from all clips (the whole test set), the query's own frame excepted.

    clips: (audio [T, D], vocal [T, D], valid [T] or None). Returns one RPrecision a clip, to be pooled by subset.
    Where all clips together have fewer than `pool` frames every query is skipped and counted.
    """
    masks = [as_mask(valid, len(vocal)) for _, vocal, valid in clips]
    if not clips:
        return []
    queries = np.concatenate([as_tokens(a, "audio")[m] for (a, _, _), m in zip(clips, masks, strict=True)])
    bank = np.concatenate([as_tokens(v, "vocal")[m] for (_, v, _), m in zip(clips, masks, strict=True)])
    bounds = np.cumsum([0] + [int(m.sum()) for m in masks])
    if len(bank) < pool:
        return [RPrecision(skipped=int(m.sum())) for m in masks]
    results = []
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        result = RPrecision()
        for start in range(begin, end, block):
            own = np.arange(start, min(start + block, end))
            others = draw_distinct(np.full(len(own), len(bank) - 1), pool - 1, generator)
            others += others >= own[:, None]
            near = 1 - np.einsum("md,md->m", queries[own], bank[own])
            far = 1 - np.einsum("md,mpd->mp", queries[own], bank[others])
            result += RPrecision(len(own), _count(near, far, generator))
        results.append(result)
    return results
