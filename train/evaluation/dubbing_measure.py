"""What is measured of one dubbed video (EVALUATION.md, Dubbing)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synclip_core.dubbing.face import FacePath
from synclip_core.dubbing.finish import paste_masks
from synclip_core.dubbing.job import SQUARE_FEATHER
from synclip_core.dubbing.parts import Part
from synclip_core.errors import SyncLipError
from synclip_core.media import geometry
from synclip_core.media.audio import read_audio
from synclip_core.media.paste import paste_face
from synclip_core.metrics.distance import best_lag, distance_curve
from synclip_core.metrics.lse import lip_sync_error
from synclip_core.pipeline import SyncPipeline
from synclip_core.vace import EDITED

INNER_LIPS = (13, 14)  # of the mesh: upper and lower lip, in the middle
EYES = (33, 263)


@dataclass(frozen=True)
class Sync:
    """conf: LSE-C; at_zero: how much nearer than its median lag 0 is, over the whole clip; lag: frames."""

    conf: float
    distance: float
    at_zero: float
    lag: int | None


class Judge:
    """An embedding that looks at videos and listens to sounds; those that it saw already are remembered."""

    def __init__(self, name: str, pipeline: SyncPipeline) -> None:
        self.name, self.pipeline = name, pipeline
        self._heard: dict[Path, np.ndarray] = {}

    def sync(self, video: Path, sound: Path) -> Sync:
        """The mouth of one file against the voice of another. Raises SyncLipError where either is missing."""
        seen = self.pipeline.tokens(video, sound=False)
        if sound not in self._heard:
            self._heard[sound] = self.pipeline.audio_tokens(read_audio(sound))
        count = min(len(seen.vocal), len(self._heard[sound]))
        if not seen.valid[:count].any():
            raise SyncLipError(f"{video}: no face was found")
        pair = self._heard[sound][:count], seen.vocal[:count]
        error = lip_sync_error(*pair, self.name, valid=seen.valid[:count])
        curve = distance_curve(*pair, 15, seen.valid[:count])
        return Sync(
            error.lse_c if error.lse_c is not None else np.nan,
            error.lse_d if error.lse_d is not None else np.nan,
            float(np.nanmedian(curve) - curve[15]),
            best_lag(curve),
        )


def opening(face: FacePath) -> np.ndarray:
    """float64 [T]: distance of the inner lips in units of the eyes'; NaN where no face was seen."""
    lips, eyes = (face.landmarks[:, list(pair)].astype(np.float64) for pair in (INNER_LIPS, EYES))
    apart = np.linalg.norm(lips[:, 0] - lips[:, 1], axis=-1) / np.maximum(
        np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1), 1e-6
    )
    return np.where(face.seen, apart, np.nan)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, over the frames that both have."""
    count = min(len(a), len(b))
    both = np.isfinite(a[:count]) & np.isfinite(b[:count])
    x, y = a[:count][both], b[:count][both]
    return float(np.corrcoef(x, y)[0, 1]) if both.sum() > 2 and x.std() > 0 and y.std() > 0 else np.nan


class Change:
    """Looks at frames before and after (dubbing.job.dub's `watch`), closely at every `step`-th of them."""

    def __init__(self, face: FacePath, step: int = 5) -> None:
        self.face, self.step = face, step
        self.outside = 0  # pixels that changed though the mask is zero there
        self.errors: list[float] = []  # mean squared error within the mask, of each frame, in 0..1
        self.pictures: list[tuple[np.ndarray, np.ndarray]] = []
        self.steps: dict[int, tuple[float, float]] = {}  # tick -> change since the frame before, of source and result
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def watch(self, frame: int, before: np.ndarray, after: np.ndarray) -> None:
        face, tick = self.face, int(self.face.ticks[frame])
        if self._last is not None and face.track[tick] >= 0:
            place = _hole(face, tick)
            pairs = zip(self._last, (before, after), strict=True)
            old, new = (float(np.abs(a[place].astype(np.int16) - b[place]).mean()) for a, b in pairs)
            self.steps[tick] = old, new
        self._last = before, after
        if frame % self.step:
            return
        changed = (before != after).any(-1)
        if face.track[tick] < 0:
            self.outside += int(changed.sum())
            return
        place = face.transforms[tick]
        mask = paste_masks(face.landmarks[tick : tick + 1], place[None], face.size, face.margin)[0]
        white = np.full((face.size, face.size, 3), 255, np.uint8)
        inside = paste_face(np.zeros_like(before), white, place, face.margin, SQUARE_FEATHER, mask)[..., 0]
        self.outside += int((changed & (inside == 0)).sum())
        solid = inside > 127
        if solid.any():
            self.errors.append(float(((before[solid].astype(np.float64) - after[solid]) ** 2).mean() / 255**2))
        self.pictures.append((before, after))

    def joins(self, parts: Sequence[Part]) -> tuple[float, float]:
        """Mean change of the lower face, in grey levels, from the last frame of a part to the first of the next: of
        the source and of the result. NaN where there is one part."""
        at = [self.steps[part.first] for part in parts if part.continues and part.first in self.steps]
        source, result = np.mean(at, 0) if at else (np.nan, np.nan)
        return float(source), float(result)

    @property
    def psnr(self) -> float:
        """dB, within the mask."""
        return float(-10 * np.log10(max(np.mean(self.errors), 1e-10))) if self.errors else np.nan


def _hole(face: FacePath, tick: int) -> tuple[slice, slice]:
    """Rows and columns of the picture around what is made anew."""
    left, top, right, bottom = EDITED
    corners = geometry.apply(
        face.transforms[tick], np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    )
    (x0, y0), (x1, y1) = np.maximum(corners.min(0), 0).astype(int), np.maximum(np.ceil(corners.max(0)), 1).astype(int)
    return slice(y0, y1), slice(x0, x1)
