"""From a decoded frame to what a player shows: RGB, upright, square pixels, nothing behind transparency.

10 and 12 bit pictures are reduced to 8 bits by swscale; HDR transfer curves (PQ, HLG) are not tone-mapped, so such
pictures look flat, which detection and the model tolerate.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_BT709, _UNSPECIFIED = 1, 2  # AVColorSpace


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


def orientation(frame: "VideoFrame") -> Orientation:
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


def has_alpha(frame: "VideoFrame") -> bool:
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


def picture_shape(frame: "VideoFrame", aspect: Fraction | None) -> PictureShape:
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

    def __call__(self, frame: "VideoFrame") -> np.ndarray:
        alpha = has_alpha(frame)
        shrinks = self.shape.width < frame.width
        # Untagged pictures: BT.709 for HD as all players assume, BT.601 (swscale's default) below.
        hd = frame.colorspace == _BT709 or frame.colorspace == _UNSPECIFIED and frame.height >= 720
        converted = self._scaler.reformat(
            frame,
            src_colorspace=Colorspace.ITU709 if hd else None,
            dst_colorspace=Colorspace.ITU601 if hd else None,  # older PyAV converts nothing where both are the same
            width=self.shape.width,
            height=self.shape.height,
            format="rgba" if alpha else "rgb24",
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
        )
        image = converted.to_ndarray()
        if alpha:  # over black, as players do: what lies behind full transparency is often garbage
            opacity = image[..., 3:].astype(np.uint16)
            image = ((image[..., :3] * opacity + 127) // 255).astype(np.uint8)
        return self.shape.turn.apply(image)
