"""Features of a video, made once: a token file each, so that many heads can be fitted in minutes.

Beside the tokens lies what the baselines and the derived labels need: the crop as a thumbnail, landmarks, speech.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.track_output import TrackChunk
from synclip_core.media.audio import read_audio
from synclip_core.media.info import probe
from synclip_core.media.speech import speech_mask
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams
from synclip_core.tokens.token_file import read_tokens, write_tokens
from train.evaluate.fingerprint import token_fingerprint
from train.evaluate.sync.provider import kinds_of
from train.evaluate.sync.tokens import tracks_of

from .eye_patches import HEIGHT, WIDTH, eye_patches

THUMBNAIL = 16  # pixels to a side: the raw-pixel baseline then has 256 inputs, the order of a token's
CONTENT = 1 << 20  # bytes of a file that tell it from others, with its length


@dataclass(frozen=True)
class Features:
    """Of one video at 25 fps. vocal, ambient, identity: float32 [T, dim] as the pipeline gives them; single: the vocal
    tokens of single frames, where the model has both kinds, else the same; valid: bool [T]; pixels: uint8 [T, 256], the
    grey crop; points: float32 [T, 468, 2], landmarks in the canonical square; eyes: uint8 [T, 2, 14, 24], see
    eye_patches.py; roll: float32 [T], radians, of the head in the picture (clockwise on screen); speech: bool [T];
    model: sha256."""

    vocal: np.ndarray
    single: np.ndarray
    ambient: np.ndarray
    identity: np.ndarray
    valid: np.ndarray
    pixels: np.ndarray
    points: np.ndarray
    eyes: np.ndarray
    roll: np.ndarray
    speech: np.ndarray
    model: str


class FeatureCache:
    """A folder with one token file a video, named after it, its content, the checkpoint and the code between them.
    Interrupted runs go on."""

    def __init__(self, pipeline: SyncPipeline, folder: Path) -> None:
        self.pipeline, self.folder = pipeline, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SyncLipError(f"{folder}: expected a folder that can be written; {error.strerror}") from error

    def place(self, path: Path) -> Path:
        """Where the features of a video lie. SyncLipError where the video cannot be read."""
        made_by = f"{self.pipeline.checkpoint.sha256} {token_fingerprint()} {_measures_fingerprint()}"
        digest = hashlib.blake2b(made_by.encode(), digest_size=8)
        try:
            with open(path, "rb") as stream:
                digest.update(stream.read(CONTENT))
                digest.update(str(path.stat().st_size).encode())
        except OSError as error:
            raise SyncLipError(f"{path}: cannot be read; {error.strerror}") from error
        return self.folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', path.stem)[:60]}-{digest.hexdigest()}.safetensors"

    def get(self, path: Path) -> Features:
        """Kept, or made now. Raises SyncLipError where the video cannot be used."""
        place = self.place(path)
        if place.is_file():
            try:
                return _features(read_tokens(place).arrays, self.pipeline.checkpoint.sha256)
            except (SyncLipError, KeyError):  # damaged: make it anew
                place.unlink(missing_ok=True)
        arrays, faces = video_arrays(self.pipeline, path)
        write_tokens(place, arrays, self.pipeline.checkpoint.sha256, faces)
        return _features(arrays, self.pipeline.checkpoint.sha256)

    def fill(self, paths: Sequence[Path], label: str = "features") -> dict[Path, str]:
        """Makes what is missing, with a bar; returns what could not be used and why."""
        refused: dict[Path, str] = {}
        for path in tqdm(paths, desc=label, unit="video", disable=None):
            try:
                if not self.place(path).is_file():
                    self.get(path)
            except SyncLipError as error:
                refused[path] = str(error)
        return refused


@functools.cache
def _measures_fingerprint() -> str:
    """Of this file and of eye_patches.py: what they make is kept too."""
    here = Path(__file__)
    return hashlib.blake2b(here.read_bytes() + here.with_name("eye_patches.py").read_bytes(), digest_size=8).hexdigest()


def video_arrays(pipeline: SyncPipeline, path: Path) -> tuple[dict[str, np.ndarray], int]:
    """What a token file of FeatureCache holds, and the number of faces. Raises SyncLipError, also without a face."""
    seen: list[tuple[int, np.ndarray, dict[str, np.ndarray]]] = []

    def watch(chunk: TrackChunk) -> None:
        points = geometry.apply(geometry.invert(chunk.transforms), chunk.landmarks)
        rigid = geometry.face_transform(chunk.landmarks)
        measured = {
            "pixels": thumbnails(chunk.crops),
            "points": points.astype(np.float16),
            "eyes": eye_patches(chunk.crops, points),
            "roll": np.arctan2(rigid[:, 1, 0], rigid[:, 0, 0]).astype(np.float32),
        }
        seen.append((chunk.track_id, chunk.ticks, measured))

    streams = pipeline.tokens(path, sound=False, watch=watch)
    ticks = len(streams.valid)
    if not streams.valid.any():
        raise SyncLipError(f"{path}: no face found")
    arrays = {
        "vocal": streams.vocal,
        "single": _single_frames(pipeline, streams),
        "ambient": streams.ambient,
        "identity": streams.identity,
        "valid": streams.valid,
        "pixels": np.zeros((ticks, THUMBNAIL**2), np.uint8),
        "points": np.zeros((ticks, 468, 2), np.float16),
        "eyes": np.zeros((ticks, 2, HEIGHT, WIDTH), np.uint8),
        "roll": np.zeros(ticks, np.float32),
        "speech": np.zeros(ticks, bool),
    }
    for track_id, where, measured in seen:
        own = streams.track[where] == track_id
        for name, rows in measured.items():
            arrays[name][where[own]] = rows[own]
    if probe(path).has_audio:
        speech = speech_mask(read_audio(path))[:ticks]
        arrays["speech"][: len(speech)] = speech
    return arrays, streams.faces


def _single_frames(pipeline: SyncPipeline, streams: TokenStreams) -> np.ndarray:
    """Vocal tokens of single frames [T, dim], from the prompts that the pipeline left."""
    if len(kinds_of(pipeline.model.config)) == 1:
        return streams.vocal
    other = SyncPipeline(pipeline.checkpoint, device=str(pipeline.device), context=False)
    tokens = np.zeros_like(streams.vocal)
    for track, start, stop in tracks_of(streams.track):
        tokens[start:stop] = other.vocal_tokens(streams.prompts[start:stop], streams.track[start:stop] == track)
    return tokens


def thumbnails(crops: np.ndarray) -> np.ndarray:
    """uint8 [n, S, S, 3] -> grey uint8 [n, 256]: each crop averaged down to 16 x 16."""
    size = (THUMBNAIL, THUMBNAIL)
    small = [np.asarray(Image.fromarray(c).convert("L").resize(size, Image.Resampling.BOX)) for c in crops]
    return np.stack(small).reshape(len(crops), -1)


def _features(arrays: dict[str, np.ndarray], model: str) -> Features:
    names = ("vocal", "single", "ambient", "identity", "valid", "pixels", "eyes", "roll", "speech")
    return Features(**{name: arrays[name] for name in names}, points=arrays["points"].astype(np.float32), model=model)
