"""BlazeFace in PyTorch: letterbox, network, SSD anchors (Bazarevsky et al. 2019, as MediaPipe runs it).

`BlazeFace` is one network on one image; `BlazeFaceDetector` is the default detector: a quick look at the whole frame,
and only where that finds nothing a finer one.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .detector import Detection, merge_overlapping
from .tflite_graph import TFLiteGraph, load_graph

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
# (stride, anchors a cell) of each output layer, from MediaPipe's face_detection_*_common.pbtxt
ANCHORS = {"short": ((8, 2), (16, 6)), "full": ((4, 1),)}
SCORE_LIMIT = 80.0  # the logits of sure faces overflow exp otherwise


@cache
def bundled_graph(name: str) -> TFLiteGraph:
    """A network of synclip_core/weights, loaded once a process."""
    return load_graph(WEIGHTS / f"{name}.safetensors")


def anchor_centres(name: str, size: int) -> np.ndarray:
    """[A, 2] centres in 0..1, row by row, in the order of the network's outputs."""
    layers = []
    for stride, repeats in ANCHORS[name]:
        cells = size // stride
        y, x = np.mgrid[:cells, :cells]
        layers.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2) + 0.5, repeats, 0) / cells)
    return np.concatenate(layers).astype(np.float32)


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float, tuple[float, float]]:
    """The whole image in a black square. Returns it, image pixels per pixel of the square, and the offset (x, y).

    Position in the image = position in the square * scale + offset.
    """
    height, width = image.shape[:2]
    scale = max(height, width) / size
    small_w, small_h = max(1, round(width / scale)), max(1, round(height / scale))
    small = Image.fromarray(image).resize((small_w, small_h), Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top = (size - small_w) // 2, (size - small_h) // 2
    square = np.zeros((size, size, 3), np.uint8)
    square[top : top + small_h, left : left + small_w] = np.asarray(small)
    return square, scale, (-left * scale, -top * scale)


class BlazeFace:
    """One BlazeFace network ("short": 128 px, "full": 192 px) on whole images."""

    def __init__(self, name: str = "short", min_score: float = 0.5, device: str | torch.device = "cpu") -> None:
        self.graph = bundled_graph(f"blazeface_{name}").to(device)
        self.device = torch.device(device)
        self.min_score = min_score
        self.anchors = anchor_centres(name, self.graph.input_size)

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        if not images:
            return []
        boxed = [letterbox(np.ascontiguousarray(image), self.graph.input_size) for image in images]
        batch = torch.from_numpy(np.stack([square for square, _, _ in boxed])).to(self.device)
        outputs = self.graph(batch.permute(0, 3, 1, 2).float() / 127.5 - 1)
        regressors, logits = sorted((o.cpu().numpy() for o in outputs), key=lambda o: -o.shape[-1])
        scores = 1 / (1 + np.exp(-np.clip(logits[..., 0], -SCORE_LIMIT, SCORE_LIMIT)))
        return [
            merge_overlapping([face.moved(scale, shift) for face in self._decode(raw, score)])
            for raw, score, (_, scale, shift) in zip(regressors, scores, boxed, strict=True)
        ]

    def _decode(self, raw: np.ndarray, scores: np.ndarray) -> list[Detection]:
        """raw: [A, 16] = centre, size, six points, all in input pixels relative to the anchor."""
        size = self.graph.input_size
        faces = []
        for i in np.flatnonzero(scores > self.min_score):
            pairs = raw[i].reshape(-1, 2)
            centre = pairs[0] + self.anchors[i] * size
            half = pairs[1] / 2
            if (half > 0).all():
                box = np.concatenate([centre - half, centre + half])
                faces.append(Detection(box, float(scores[i]), pairs[2:] + self.anchors[i] * size))
        return faces


class BlazeFaceDetector:
    """The default: short-range BlazeFace on the whole frame; where it finds nothing, full-range BlazeFace on it and on
    overlapping square tiles, so that a small face in a wide or a 4K frame is found. everywhere: there too where it
    finds something, so that a small face beside a large one is found.
    """

    def __init__(
        self,
        min_score: float = 0.5,
        device: str | torch.device = "cpu",
        small_faces: bool = True,
        everywhere: bool = False,
    ) -> None:
        self.everywhere = everywhere
        self.near = BlazeFace("short", min_score, device)
        self.far = BlazeFace("full", min_score, device) if small_faces else None

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        found = self.near.detect(images)
        if self.far is not None:
            for i, image in enumerate(images):
                if not found[i]:
                    found[i] = self._search_tiles(image)
                elif self.everywhere:
                    found[i] = merge_overlapping([*found[i], *self._search_tiles(image)])
        return found

    def _search_tiles(self, image: np.ndarray) -> list[Detection]:
        assert self.far is not None
        places = tiles(*image.shape[:2])
        parts = self.far.detect([image[y : y + h, x : x + w] for x, y, w, h in places])
        faces = [f.moved(1.0, (x, y)) for (x, y, _, _), part in zip(places, parts, strict=True) for f in part]
        return merge_overlapping(faces)


def tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """(x, y, w, h): the whole frame, and half-overlapping squares of its short side along the long side (at most seven
    parts; of a very long frame they are oblong).
    """
    short, long = min(height, width), max(height, width)
    places = [(0, 0, width, height)]
    if long > 1.2 * short:
        part = max(short, -(-long // 4))
        count = int(np.ceil((long - part) / (part / 2))) + 1
        for start in np.linspace(0, long - part, count).round().astype(int).tolist():
            places.append((start, 0, part, short) if width > height else (0, start, short, part))
    return places
