"""Pictures made worse, for benchmarks.robustness: FFmpeg's filters and a bar or a hand before the face.

Frames are lists of uint8 [H, W, 3], RGB.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageDraw

from synclip_core.faces import geometry

Frames = list[np.ndarray]
SKIN = (150, 115, 100)
# canonical boxes x0, y0, x1, y1 (synclip_core/faces/geometry.py), the colour, and what part of the clip they cover
COVERS = {
    "eyes": ((0.12, 0.20, 0.88, 0.42), (0, 0, 0), False),
    "half of the mouth": ((0.50, 0.57, 0.80, 0.82), SKIN, False),
    "mouth, every other second": ((0.25, 0.55, 0.75, 0.85), SKIN, True),
}


def filtered(frames: Frames, *filters: tuple[str, str]) -> Frames:
    """Through a chain of FFmpeg's filters, (name, arguments) each."""
    height, width = frames[0].shape[:2]
    graph = av.filter.Graph()
    last = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, 25))
    for name, arguments in (*filters, ("format", "rgb24"), ("buffersink", "")):
        node = graph.add(name, arguments) if arguments else graph.add(name)
        last.link_to(node)
        last = node
    graph.configure()
    found: Frames = []
    for index, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        graph.push(frame)
        found.extend(_ready(graph))
    graph.push(None)
    found.extend(_ready(graph))
    assert len(found) == len(frames), f"{filters} made {len(found)} frames of {len(frames)}"
    return found


def _ready(graph: av.filter.Graph) -> Iterator[np.ndarray]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield frame.to_ndarray(format="rgb24")


def reduced(frames: Frames, lines: int) -> Frames:
    """To so many lines and back."""
    height, width = frames[0].shape[:2]
    small = round(width * lines / height / 2) * 2
    return filtered(frames, ("scale", f"{small}:{lines}:flags=area"), ("scale", f"{width}:{height}:flags=bicubic"))


def toned(frames: Frames, gain: Sequence[float] = (1, 1, 1), contrast: float = 1, offset: float = 0) -> Frames:
    """gain of R, G, B; contrast around the middle grey; offset in grey levels. Cut at black and white."""
    table = ((np.arange(256)[:, None] * np.asarray(gain) - 128) * contrast + 128 + offset).clip(0, 255).astype(np.uint8)
    return [np.stack([table[image[..., c], c] for c in range(3)], -1) for image in frames]


def covered(frames: Frames, transforms: Sequence[np.ndarray | None], what: str) -> Frames:
    """A box of COVERS fixed to the face. transforms: canonical square -> pixels, of each frame, None without a face."""
    (x0, y0, x1, y1), colour, at_times = COVERS[what]
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    found = []
    for index, (image, transform) in enumerate(zip(frames, transforms, strict=True)):
        if transform is not None and not (at_times and index // 25 % 2 == 0):
            picture = Image.fromarray(image)
            points = [tuple(point) for point in geometry.apply(transform, corners)]
            ImageDraw.Draw(picture).polygon(points, fill=colour)
            image = np.asarray(picture)
        found.append(image)
    return found
