"""Optional detector for users who have the mediapipe package and one of its model files."""

import importlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SyncLipError
from .detector import Detection

BUNDLED = "face_detector.tflite"  # the detector inside face_landmarker.task


class MediaPipeTaskDetector:
    """MediaPipe Tasks' FaceDetector on a file of the user: blaze_face_short_range.tflite or face_landmarker.task.

    Needs `pip install mediapipe`; raises SyncLipError without it, or if the file is missing or refused.
    """

    def __init__(self, task_file: str | Path, min_score: float = 0.5) -> None:
        self._path = Path(task_file)
        model = self._read_model()
        try:
            self._mediapipe: Any = importlib.import_module("mediapipe")
            tasks: Any = importlib.import_module("mediapipe.tasks.python")
        except ImportError as error:
            raise SyncLipError(
                f"MediaPipeTaskDetector needs the mediapipe package ({error}); pip install mediapipe, or leave the "
                "detector at its default, which needs nothing"
            ) from error
        try:
            options = tasks.vision.FaceDetectorOptions(
                base_options=tasks.BaseOptions(model_asset_buffer=model), min_detection_confidence=min_score
            )
            self._detector: Any = tasks.vision.FaceDetector.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from error

    def _read_model(self) -> bytes:
        if not self._path.is_file():
            raise SyncLipError(f"{self._path}: no such file; expected a MediaPipe face model (.tflite or .task)")
        data = self._path.read_bytes()
        if data[4:8] == b"TFL3" or not zipfile.is_zipfile(self._path):  # a .tflite may carry a zip of labels at its end
            return data
        with zipfile.ZipFile(self._path) as bundle:
            if BUNDLED not in bundle.namelist():
                raise self._refused(f"the bundle holds {', '.join(bundle.namelist())}, not {BUNDLED}")
            return bundle.read(BUNDLED)

    def _refused(self, reason: object) -> SyncLipError:
        return SyncLipError(
            f"{self._path}: MediaPipe does not take it as a face detector ({reason}); expected "
            "blaze_face_short_range.tflite or face_landmarker.task"
        )

    def detect(self, images: list[np.ndarray]) -> list[list[Detection]]:
        """As FaceDetector.detect."""
        return [self._detect(np.ascontiguousarray(image)) for image in images]

    def _detect(self, image: np.ndarray) -> list[Detection]:
        height, width = image.shape[:2]
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=image)
        try:
            found = self._detector.detect(picture).detections
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from error
        faces = []
        for face in found:
            box = face.bounding_box
            corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
            points = np.array([(p.x * width, p.y * height) for p in face.keypoints or []], np.float32)
            score = float(face.categories[0].score)
            faces.append(Detection(np.array(corners, np.float32), score, points if len(points) >= 2 else None))
        return sorted(faces, key=lambda face: -face.score)
