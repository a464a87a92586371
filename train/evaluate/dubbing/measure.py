"""What is measured of one dubbed video, against its source, pixel by pixel (evaluation.md, Dubbing)."""

from collections.abc import Sequence

import numpy as np
from skimage.metrics import structural_similarity

from synclip_core.dubbing.face import FacePath
from synclip_core.dubbing.finish import paste_masks
from synclip_core.dubbing.job import SQUARE_FEATHER
from synclip_core.dubbing.parts import Part
from synclip_core.dubbing.vace import EDITED
from synclip_core.faces import geometry
from synclip_core.faces.paste import paste_face

WINDOW = 11  # pixels of SSIM's Gaussian window of 1.5 pixels


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
        self.alike: list[float] = []  # SSIM within the mask, of each frame
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
            self.alike.append(_similarity(before, after, solid))
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

    @property
    def ssim(self) -> float:
        """-1..1, within the mask."""
        return float(np.nanmean(self.alike)) if np.isfinite(self.alike).any() else np.nan


def _similarity(before: np.ndarray, after: np.ndarray, solid: np.ndarray) -> float:
    """SSIM as Wang et al. 2004 have it, a channel at a time, over the pixels of the mask alone: around them nothing
    changed. NaN for a face smaller than the window."""
    rows, columns = (np.flatnonzero(solid.any(axis)) for axis in (1, 0))
    reach = WINDOW // 2
    box = tuple(slice(max(at[0] - reach, 0), at[-1] + reach + 1) for at in (rows, columns))
    if min(solid[box].shape) < WINDOW:
        return np.nan
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similar = structural_similarity(before[box], after[box], channel_axis=2, data_range=255, full=True, **wang)
    return float(similar[solid[box]].mean())


def _hole(face: FacePath, tick: int) -> tuple[slice, slice]:
    """Rows and columns of the picture around what is made anew."""
    left, top, right, bottom = EDITED
    corners = geometry.apply(
        face.transforms[tick], np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    )
    (x0, y0), (x1, y1) = np.maximum(corners.min(0), 0).astype(int), np.maximum(np.ceil(corners.max(0)), 1).astype(int)
    return slice(y0, y1), slice(x0, x1)
