"""Sync Score: the shortest way from a video to a verdict."""

import os
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ..synclip_core.errors import SyncLipError
from ..synclip_core.media.audio import read_audio
from ..synclip_core.media.selection import parse_choice
from ..synclip_core.media.video import iter_ticks
from ..synclip_core.plot import Thumbnail, draw_report, worst_ticks
from ..synclip_core.report import FPS, ScoreReport
from . import sockets
from .managed_model import ManagedModel, bundled
from .progress import check_cancel, follower
from .score_output import outputs, score_output
from .video_input import video_file, video_name


class SyncScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipSyncScore",
            display_name="Sync Score",
            category=sockets.CATEGORY,
            description="Is the mouth in sync with the voice, and by how much is it off?",
            inputs=[
                io.Video.Input("video", tooltip="A video with a face and a voice. Streamed, however long it is."),
                sockets.Model.Input("model", optional=True, tooltip="Nothing connected: the bundled checkpoint."),
                io.String.Input(
                    "face",
                    default="auto",
                    tooltip=sockets.FACE_TOOLTIP + " speaker: the face whose mouth fits the voice best.",
                ),
                io.Combo.Input("missing", options=sockets.MISSING, default="hold", tooltip=sockets.MISSING_TOOLTIP),
                io.Int.Input(
                    "max_lag",
                    default=15,
                    min=5,
                    max=125,
                    tooltip="How far to search, in frames at 25 fps (15 is 600 ms) to either side.",
                ),
            ],
            outputs=outputs(),
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, face: str = "auto", missing: str = "hold") -> bool | str:
        try:
            parse_choice(face)
        except SyncLipError as error:
            return str(error)
        return sockets.one_of(missing=(missing, sockets.MISSING))

    @classmethod
    def execute(
        cls, video: Any, face: str, missing: str, max_lag: int, model: ManagedModel | None = None
    ) -> io.NodeOutput:
        pipeline = (model or bundled()).pipeline(face=face, missing=missing, max_lag=max_lag)
        with video_file(video) as path:
            report = pipeline.score(path, progress=follower())
            waveform, thumbnails = read_audio(path), _worst_frames(path, report)
        report.file = os.path.basename(video_name(video))
        return score_output(cls, report, draw_report(report, waveform, thumbnails))


def _worst_frames(path: Path, report: ScoreReport) -> list[Thumbnail]:
    """The frames that fit the voice least, in the order of the clip."""
    wanted = set(worst_ticks(report))
    found: list[Thumbnail] = []
    reader = iter_ticks(path, max_side=480)
    try:
        while len(found) < len(wanted):
            check_cancel()
            tick, frame = next(reader)
            if tick in wanted:
                found.append((tick / FPS, Image.fromarray(frame.image)))
    except StopIteration:
        pass
    finally:
        reader.close()
    return found
