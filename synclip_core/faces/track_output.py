"""From observations of one face to its chunks: gaps filled, transforms smoothed, crops cut, memory bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import SyncLipError
from . import geometry
from .crop import crop_face
from .detect.face_mesh import landmark_box

POLICIES = ("hold", "interpolate", "skip", "error")
PATCH_MARGIN = 0.4  # of the canonical square's side kept around it until the smoothed transform is known
GAP_MARGIN = 1.0  # the same where the face is missing and the place must be guessed
KEPT_BYTES = 5 << 20  # pictures up to this size that are converted where they are looked at are kept whole
PATCH_PIXELS = 4 << 20  # larger patches are box-reduced before they are kept


@dataclass(frozen=True)
class TrackOptions:
    """crop_size: pixels; margin: of the crop, a share of the canonical square; chunk: ticks a chunk;
    smoothing: sigma in ticks; missing: hold | interpolate | skip | error; max_gap: ticks without the face after which a
    track ends; min_presence: of the mesh, 0..1."""

    crop_size: int = 112
    margin: float = 0.0
    max_faces: int = 9
    chunk: int = 64
    detect_every: int = 16
    smoothing: float = 1.5
    missing: str = "hold"
    max_gap: int = 25
    min_presence: float = 0.5

    def __post_init__(self) -> None:
        if self.missing not in POLICIES:
            raise SyncLipError(f"missing={self.missing!r}: expected one of {', '.join(POLICIES)}")
        for name in ("crop_size", "max_faces", "chunk", "detect_every"):
            if getattr(self, name) < 1:
                raise SyncLipError(f"{name}={getattr(self, name)}: expected at least 1")


@dataclass(frozen=True)
class Observation:
    """A face seen on one tick: landmarks [468, 3] float32 px, score 0..1."""

    landmarks: np.ndarray
    score: float


@dataclass(frozen=True)
class TrackChunk:
    """n consecutive ticks of one face.

    ticks: int64 [n]; crops: uint8 [n, S, S, 3]; valid: bool [n], False where the policy filled in; transforms:
    float32 [n, 2, 3], canonical unit square -> source pixels, smoothed; landmarks: float32 [n, 468, 2] source pixels;
    boxes: float32 [n, 4]; score: float32 [n], presence of a face, 0 where filled in.
    """

    track_id: int
    ticks: np.ndarray
    crops: np.ndarray
    valid: np.ndarray
    transforms: np.ndarray
    landmarks: np.ndarray
    boxes: np.ndarray
    score: np.ndarray


@dataclass
class _Patch:
    """The part of a frame that a crop may need; pixel of the frame = pixel of the patch * factor + (left, top)."""

    image: np.ndarray
    left: int
    top: int
    factor: int

    def crop(self, transform: np.ndarray, size: int, margin: float) -> np.ndarray:
        moved = transform.copy()
        moved[:, 2] -= (self.left, self.top)
        return crop_face(self.image, moved / self.factor, size, margin)


@dataclass
class _Row:
    tick: int
    transform: np.ndarray
    landmarks: np.ndarray
    score: float
    valid: bool
    patch: _Patch | None


def cut_patch(image: np.ndarray, transform: np.ndarray, margin: float) -> _Patch:
    """The canonical square of `transform`, grown by `margin` on every side, as far as the image goes."""
    if not isinstance(image, np.ndarray) and image.nbytes <= KEPT_BYTES:  # not converted yet: less will do later
        return _Patch(image, 0, 0, 1)
    grown = np.array([[-margin, -margin], [1 + margin, -margin], [-margin, 1 + margin], [1 + margin, 1 + margin]])
    corners = geometry.apply(transform, grown)
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(0)), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), [left + 1, top + 1], [width, height]).astype(int)
    part = image[top:bottom, left:right]
    area = part.shape[0] * part.shape[1]
    if area > PATCH_PIXELS:  # a face of about 1,100 px and more: crops differ by rounding from those of the whole frame
        factor = int(np.ceil(np.sqrt(area / PATCH_PIXELS)))
        small = np.asarray(Image.fromarray(np.ascontiguousarray(part)).reduce(factor))
        return _Patch(small, int(left), int(top), factor)
    if 2 * area > height * width:
        return _Patch(image, 0, 0, 1)
    return _Patch(part.copy(), int(left), int(top), 1)


class TrackWriter:
    """Takes one tick after the other of one track; `ready` and `finish` yield chunks."""

    def __init__(self, track_id: int, options: TrackOptions) -> None:
        self.track_id, self.options = track_id, options
        self._radius = int(np.ceil(3 * options.smoothing)) if options.smoothing > 0 else 0
        self._rows: list[_Row] = []  # the current run, emitted rows kept as far as smoothing needs them
        self._emitted = 0  # of self._rows
        self._gap: list[tuple[int, _Patch]] = []
        self._finished: list[tuple[_Row, np.ndarray, np.ndarray]] = []  # row, smoothed transform, crop

    def push(self, tick: int, image: np.ndarray, seen: Observation | None) -> None:
        """One tick. Before the face was first seen nothing is recorded."""
        if seen is None:
            if self._rows and self.options.missing != "skip":
                self._gap.append((tick, cut_patch(image, self._rows[-1].transform, GAP_MARGIN + self.options.margin)))
            return
        transform = geometry.face_transform(seen.landmarks)
        if self._rows and tick != self._rows[-1].tick + 1:
            self._close_gap(transform, seen)
        patch = cut_patch(image, transform, PATCH_MARGIN + self.options.margin)
        self._rows.append(_Row(tick, transform, seen.landmarks, seen.score, True, patch))

    def _close_gap(self, transform: np.ndarray, seen: Observation) -> None:
        if self.options.missing == "skip":
            self._emit(len(self._rows))
            self._rows, self._emitted = [], 0
            return
        before = self._rows[-1]
        for i, (tick, patch) in enumerate(self._gap, 1):
            share = i / (len(self._gap) + 1) if self.options.missing == "interpolate" else 0.0
            middle = (1 - share) * before.transform + share * transform
            landmarks = (1 - share) * before.landmarks + share * seen.landmarks
            self._rows.append(_Row(tick, middle, landmarks.astype(np.float32), 0.0, False, patch))
        self._gap = []

    def _emit(self, until: int) -> None:
        """Smooths and crops rows [emitted, until); `until` must lie a radius before the end unless the run is over."""
        if until <= self._emitted:
            return
        start = max(0, self._emitted - self._radius)
        raw = np.stack([row.transform for row in self._rows[start : until + self._radius]])
        smoothed = geometry.smooth_transforms(raw, self.options.smoothing)
        for i in range(self._emitted, until):
            row = self._rows[i]
            # what is reported is what was cut: rounded first, so that a paste-back meets the same pixels
            transform = smoothed[i - start].astype(np.float32).astype(np.float64)
            assert row.patch is not None
            crop = row.patch.crop(transform, self.options.crop_size, self.options.margin)
            row.patch = None
            self._finished.append((row, transform, crop))
        self._emitted = until
        drop = max(0, self._emitted - max(self._radius, 1))  # the last one stays: a gap begins from it
        self._rows, self._emitted = self._rows[drop:], self._emitted - drop

    def ready(self) -> Iterator[TrackChunk]:
        """Chunks that no later tick can change."""
        self._emit(len(self._rows) - self._radius)
        yield from self._chunks(final=False)

    def finish(self) -> Iterator[TrackChunk]:
        """The rest; a gap that never closed is dropped."""
        self._gap = []
        self._emit(len(self._rows))
        self._rows, self._emitted = [], 0
        yield from self._chunks(final=True)

    def _chunks(self, final: bool) -> Iterator[TrackChunk]:
        while self._finished:
            ticks = np.array([row.tick for row, _, _ in self._finished[: self.options.chunk]])
            breaks = np.flatnonzero(np.diff(ticks) != 1)
            count = int(breaks[0]) + 1 if len(breaks) else len(ticks)
            if count == len(ticks) and count < self.options.chunk and not final:
                return
            part, self._finished = self._finished[:count], self._finished[count:]
            landmarks = np.stack([row.landmarks for row, _, _ in part])
            yield TrackChunk(
                self.track_id,
                ticks[:count].astype(np.int64),
                np.stack([crop for _, _, crop in part]),
                np.array([row.valid for row, _, _ in part]),
                np.stack([transform for _, transform, _ in part]).astype(np.float32),
                landmarks[..., :2].astype(np.float32),
                landmark_box(landmarks),
                np.array([row.score for row, _, _ in part], np.float32),
            )
