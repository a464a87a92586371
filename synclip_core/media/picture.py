"""From a decoded frame to what a player shows: RGB, upright, square pixels, nothing behind transparency.

10 and 12 bit pictures are reduced to 8 bits by swscale; HDR transfer curves (PQ, HLG) are not tone-mapped, so such
pictures look flat, which detection and the model tolerate.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

_BT709, _UNSPECIFIED = 1, 2  # AVColorSpace
STEP = 64  # pixels: parts of a picture are converted in sizes of a multiple of it


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned for display: first transposed, then flipped along x and y."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270. For a mirrored picture: the turn that follows a flip along x."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    @property
    def mirrored(self) -> bool:
        return (self.flip_x != self.flip_y) != self.transpose

    def apply(self, image: np.ndarray) -> np.ndarray:
        """image: [H, W, C] as stored. Returns it as displayed, contiguous."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.flip_x:
            image = image[:, ::-1]
        if self.flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def orientation(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame, to the nearest quarter turn.

    The matrix [a b u; c d v; x y w] carries a point to (a p + c q + x, b p + d q + y), y downwards (FFmpeg display.h).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    values = np.frombuffer(bytes(matrix) if isinstance(matrix, SideData) else b"", dtype=np.int32)
    if values.size < 5:
        return Orientation()
    a, b, c, d = (int(values[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def has_alpha(frame: VideoFrame) -> bool:
    """True where the pixel format carries transparency."""
    return frame.format.name == "pal8" or any(c.is_alpha for c in frame.format.components)


@dataclass(frozen=True)
class PictureShape:
    """Size and turn of all pictures of a video, taken from its first frame.

    A stream that changes its size midway is scaled to the first one.
    """

    width: int  # stored, after the pixel aspect ratio is made square
    height: int
    turn: Orientation

    @property
    def display(self) -> tuple[int, int]:
        """(width, height) as shown."""
        return (self.height, self.width) if self.turn.transpose else (self.width, self.height)

    def within(self, max_side: int | None) -> "PictureShape":
        """The same picture, reduced so that the longer side is at most `max_side`."""
        longest = max(self.width, self.height)
        if max_side is None or longest <= max_side:
            return self
        scale = Fraction(max(1, int(max_side)), longest)
        return PictureShape(max(1, round(self.width * scale)), max(1, round(self.height * scale)), self.turn)


def picture_shape(frame: VideoFrame, aspect: Fraction | None) -> PictureShape:
    """Shape of a video from its first decoded frame. aspect: sample aspect ratio; absurd ones are ignored."""
    width = frame.width
    if aspect is not None and aspect > 0 and aspect != 1 and Fraction(1, 4) <= aspect <= 4:
        width = max(1, round(width * aspect))
    return PictureShape(width, frame.height, orientation(frame))


class PictureReader:
    """Converts decoded frames to uint8 RGB [H, W, 3] in display orientation."""

    def __init__(self, shape: PictureShape) -> None:
        self.shape = shape
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        alpha = has_alpha(frame)
        shrinks = self.shape.width < frame.width
        image = self._converted(frame, frame.height, "rgba" if alpha else "rgb24", shrinks)
        if alpha:  # over black, as players do: what lies behind full transparency is often garbage
            opacity = image[..., 3:].astype(np.uint16)
            image = ((image[..., :3] * opacity + 127) // 255).astype(np.uint8)
        return self.shape.turn.apply(image)

    def _converted(self, frame: VideoFrame, height: int, form: str, shrinks: bool = False) -> np.ndarray:
        """frame, or a part of one of that height, scaled to `shape`."""
        # Untagged pictures: BT.709 for HD as all players assume, BT.601 (swscale's default) below.
        hd = frame.colorspace == _BT709 or frame.colorspace == _UNSPECIFIED and height >= 720
        return self._scaler.reformat(
            frame,
            src_colorspace=Colorspace.ITU709 if hd else None,
            dst_colorspace=Colorspace.ITU601 if hd else None,  # older PyAV converts nothing where both are the same
            width=self.shape.width,
            height=self.shape.height,
            format=form,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
        ).to_ndarray()

    def in_parts(self, frame: VideoFrame) -> "PicturePart | None":
        """The same picture, converted where it is looked at; None where parts would not be those of the whole."""
        same = (frame.width, frame.height) == (self.shape.width, self.shape.height)
        plain = frame.format.name in ("yuv420p", "yuvj420p") and self.shape.turn == Orientation()
        return PicturePart(frame) if same and plain else None


class PicturePart:
    """uint8 RGB [H, W, 3] of a decoded frame, of which only the part is converted that is looked at.

    Slices, `picture[top:bottom, left:right]`, and `picture[rows[:, None], columns[None]]` give arrays equal to those of
    the whole; np.asarray converts the whole. For one thread at a time.
    """

    _readers = threading.local()  # converters keep tables for a size; sizes are multiples of STEP, so there are few

    def __init__(self, frame: VideoFrame) -> None:
        self._frame = frame
        self.shape = (frame.height, frame.width, 3)
        self.nbytes = frame.height * frame.width * 3
        self._box = (0, 0, 0, 0)  # left, top, right, bottom of what is converted
        self._part = np.zeros((0, 0, 3), np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:, :]
        return whole if dtype is None or dtype == whole.dtype else whole.astype(dtype)

    def __getitem__(self, place: tuple[Any, Any]) -> np.ndarray:
        rows, columns = place
        if not isinstance(rows, slice):
            return self._samples(np.ravel(rows), np.ravel(columns))
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        if bottom <= top or right <= left:
            return np.zeros((max(0, bottom - top), max(0, right - left), 3), np.uint8)
        box = self._box
        if left < box[0] or top < box[1] or right > box[2] or bottom > box[3]:
            self._convert(left, top, right, bottom)
        return self._part[top - self._box[1] : bottom - self._box[1], left - self._box[0] : right - self._box[0]]

    def _convert(self, left: int, top: int, right: int, bottom: int) -> None:
        """This part and what was converted before, in one."""
        if self._part.size:
            left, top = min(left, self._box[0]), min(top, self._box[1])
            right, bottom = max(right, self._box[2]), max(bottom, self._box[3])
        left, right = _wider(left, right, self.shape[1])
        top, bottom = _wider(top, bottom, self.shape[0])

        def part(plane: np.ndarray, halves: int) -> np.ndarray:
            return plane[top >> halves : -(-bottom >> halves), left >> halves : -(-right >> halves)]

        self._part, self._box = self._rgb(part, right - left, bottom - top), (left, top, right, bottom)

    def _samples(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[R], [C] -> [R, C, 3]: each pixel in a block of 2 x 2 of its own, as colours are stored for such."""

        def blocks(plane: np.ndarray, halves: int) -> np.ndarray:
            found = plane[(rows >> halves)[:, None], (columns >> halves)[None]]
            return found if halves else found.repeat(2, 0).repeat(2, 1)

        return self._rgb(blocks, 2 * len(columns), 2 * len(rows))[::2, ::2]

    def _rgb(self, part: Callable[[np.ndarray, int], np.ndarray], width: int, height: int) -> np.ndarray:
        """[height, width, 3] of what `part(plane, 0 for brightness or 1 for colour)` takes of the planes."""
        frame = self._frame
        small = VideoFrame(width, height, frame.format.name)
        for number, (source, target) in enumerate(zip(frame.planes, small.planes, strict=True)):
            rows = np.frombuffer(source, np.uint8).reshape(-1, source.line_size)  # type: ignore[call-overload]
            taken = part(rows, min(number, 1))
            room = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)  # type: ignore[call-overload]
            room[: taken.shape[0], : taken.shape[1]] = taken
        small.colorspace, small.color_range = frame.colorspace, frame.color_range
        readers = self._readers.__dict__.setdefault("by_size", {})
        if (width, height) not in readers:
            if len(readers) >= 32:
                readers.clear()
            readers[width, height] = PictureReader(PictureShape(width, height, Orientation()))
        return readers[width, height]._converted(small, frame.height, "rgb24")


def _wider(low: int, high: int, size: int) -> tuple[int, int]:
    """The same stretch of 0..size and a little around it, from an even place on, a multiple of STEP long."""
    room = -(-(high - low + STEP // 4) // STEP) * STEP
    if room >= size:
        return 0, size
    begin = max(0, (low + high - room) // 2) & ~1
    return (begin, begin + room) if begin + room <= size else ((size - room) & ~1, size)
