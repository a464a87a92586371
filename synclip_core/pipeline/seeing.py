"""Seeing: one pass over a video, its faces followed, cropped and encoded; and tokens of what was seen."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..faces.crop import decode_side, model_frames
from ..faces.detect.blazeface import BlazeFaceDetector
from ..faces.geometry import frame_regions
from ..faces.track_output import TrackChunk, TrackOptions
from ..faces.tracking import FaceTracker
from ..follow import FacePass
from ..media.info import MediaInfo
from ..media.video import SourceFrame
from ..models.synclipmae import SyncLipMAE, held, normalise
from ..models.visual_encoder import IDENTITY, VOCAL
from ..stages import Behind, shared_cores
from ..sync.found import Found
from ..tokens.audio_stream import in_spans
from .words import Progress, Watch

BLOCK_PIXELS = 64 * 224 * 224  # of frames that are encoded together: 64 of base, 4 of paper


class Eye:
    """context: see SyncPipeline. everywhere: small faces beside a large one are looked for too."""

    def __init__(
        self, model: SyncLipMAE, device: str, options: TrackOptions, context: bool = True, everywhere: bool = False
    ) -> None:
        self.model, self.device, self.options = model, device, options
        self.context, self.everywhere = context, everywhere
        self._tracker: FaceTracker | None = None

    def see(
        self,
        path: str | Path,
        keep: Sequence[int],
        progress: Progress | None = None,
        watch: Watch | None = None,
        info: MediaInfo | None = None,
    ) -> Found:
        """Prompts of every face (keep: which of the three, a long clip is large). Decoding, tracking and encoding run
        beside one another, with a bounded number of frames and crops in memory.

        progress and watch are called on the caller's thread, what they raise ends the pass. Raises SyncLipError where
        there is no video."""
        if self._tracker is None:
            detector = BlazeFaceDetector(device=self.device, everywhere=self.everywhere)
            self._tracker = FaceTracker(self.options, detector, device=self.device)
        found = Found(keep)

        def look(tick: int, expected: int, _: SourceFrame) -> None:
            if progress is not None:
                progress(tick + 1, max(expected, tick + 1))

        def encode(chunk: TrackChunk) -> np.ndarray:
            regions = frame_regions(chunk.landmarks, chunk.transforms)
            return self.encode_crops(chunk.crops, regions, IDENTITY in keep)

        def keep_prompts(chunk: TrackChunk, prompts: np.ndarray) -> None:
            found.add(chunk, prompts)
            if watch is not None:
                watch(chunk)

        side, what = decode_side(self.options.crop_size), "a video with a face and a voice"
        with shared_cores(2), FacePass(path, self._tracker, side, look, info, what, parts=True) as faces:
            with Behind(encode, keep_prompts) as encoding:
                for chunk in faces:
                    found.reduction = faces.reduction  # how a face looks depends on it
                    encoding.put(chunk)
            found.ticks, found.reduction = faces.ticks, faces.reduction
            found.summaries, found.warnings = faces.summaries(), list(faces.warnings)
        return found

    @torch.inference_mode()
    def encode_crops(self, crops: np.ndarray, regions: np.ndarray | None = None, identity: bool = True) -> np.ndarray:
        """crops: uint8 [n, S, S, 3], face squares of the model's crop size; regions: float32 [n, 5, 4], where the parts
        of these faces are (faces.geometry.frame_regions), None: where they usually are; identity: False where the
        identity prompt is not needed, which saves its pass over all patches. Returns prompts float32 [n, 3, width].

        The model sees them as in training: a model whose image_size is not square, such as `paper` with 1024 x 768,
        sees the whole square stretched to it (faces.crop.model_frames).
        """
        size = self.model.config.visual.image_size
        block = max(1, BLOCK_PIXELS // math.prod(size))
        prompts = []
        for start in range(0, len(crops), block):
            part = slice(start, start + block)
            frames = model_frames(torch.from_numpy(crops[part]).to(self.device), size)
            where = None if regions is None else torch.from_numpy(regions[part]).to(self.device)
            # a copy: the three prompts are a view of all tokens, which would stay in memory with them
            prompts.append(self.model.prompts(frames, where, identity).cpu().numpy().copy())
        return np.concatenate(prompts)

    @torch.inference_mode()
    def vocal_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """prompts: float32 [T, width] of one face; valid: bool [T]. Returns float32 [T, dim], L2-normalised."""
        model = self.model
        x = torch.from_numpy(np.ascontiguousarray(prompts, np.float32))[None].to(self.device)
        mask = torch.from_numpy(np.ascontiguousarray(valid))[None].to(self.device)
        reach = model.config.reach(self.context)[0]
        if self.context and model.has_context:
            both = torch.cat([x, mask[..., None].to(x)], -1)  # cut at the same place
            tokens = in_spans(lambda y: model.vocal_context(y[..., :-1], y[..., -1] > 0), both, reach)
        else:
            padded = held(model.vocal_head.centered(x, mask), reach)
            tokens = in_spans(model.vocal_head, padded, reach)[:, reach : reach + len(prompts)]
        return normalise(tokens[0]).cpu().numpy()

    @torch.inference_mode()
    def face_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """prompts: float32 [n, 3, width] of one face; valid: bool [n]. Vocal, identity and ambient tokens [n, dim]."""
        whole = torch.from_numpy(prompts)[None].to(self.device)
        identity, ambient = self.model.identity_tokens(whole)[0], self.model.ambient_tokens(whole)[0]
        return self.vocal_tokens(prompts[:, VOCAL], valid), identity.cpu().numpy(), ambient.cpu().numpy()
