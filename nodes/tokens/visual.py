"""Tokens of a tracked face."""

from dataclasses import replace

import numpy as np

from ...synclip_core.errors import SyncLipError
from ...synclip_core.faces.crop import crop_face
from ...synclip_core.faces.geometry import frame_regions
from ...synclip_core.faces.track_output import TrackChunk
from ...synclip_core.pipeline import MIN_TRACK, SyncPipeline
from ...synclip_core.sync.along.look import face_look, lay
from ..shared.progress import counted
from ..shared.values import Faces, Tokens


def encode(pipeline: SyncPipeline, faces: Faces, model: str) -> tuple[Tokens, Tokens, Tokens]:
    """Vocal, identity and ambient tokens; rows of zeros where no face was chosen."""
    if not faces.chunks:
        raise SyncLipError("faces: holds no face; look at the preview of Track Faces and choose another clip or face.")
    size = pipeline.model.config.visual.crop_size
    values = np.zeros((3, faces.ticks, pipeline.model.config.dim), np.float32)
    valid = np.zeros(faces.ticks, bool)
    look = lay(faces.ticks, [])
    chunks = iter(counted([chunk for track in faces.tracks() for chunk in track], len(faces.chunks)))
    for track in faces.tracks():
        prompts, before = [], None
        for _ in track:
            chunk = next(chunks)
            chunk = replace(chunk, crops=fitted(chunk.crops, faces, size))
            look[chunk.ticks[chunk.valid]] = face_look(chunk, before)[chunk.valid]
            before = chunk.crops[-1]
            prompts.append(_prompts(pipeline, chunk))
        ticks, seen = (np.concatenate([getattr(chunk, name) for chunk in track]) for name in ("ticks", "valid"))
        values[:, ticks] = pipeline.face_tokens(np.concatenate(prompts), seen)
        if seen.sum() >= min(MIN_TRACK, faces.ticks):
            valid[ticks[seen]] = True
    kinds = ("vocal", "identity", "ambient")
    vocal, identity, ambient = (
        Tokens(kind, rows, valid, model, faces.seen) for kind, rows in zip(kinds, values, strict=True)
    )
    return replace(vocal, look=look), identity, ambient


def _prompts(pipeline: SyncPipeline, chunk: TrackChunk) -> np.ndarray:
    return pipeline.encode_crops(chunk.crops, frame_regions(chunk.landmarks, chunk.transforms))


def fitted(crops: np.ndarray, faces: Faces, size: int) -> np.ndarray:
    """Crops as encode_crops takes them: without margin, of side `size`. uint8 [n, S, S, 3] -> [n, size, size, 3]."""
    if faces.size == size and not faces.margin:
        return crops
    side = faces.size / (1 + 2 * faces.margin)
    square = np.array([[side, 0, side * faces.margin], [0, side, side * faces.margin]])
    return np.stack([crop_face(crop, square, size) for crop in crops])
