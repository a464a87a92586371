"""The outputs that both Sync Score nodes have, and what they show."""

import json
import math
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ...synclip_core.errors import SyncLipError
from ...synclip_core.media.info import probe
from ...synclip_core.pipeline import SyncPipeline
from ...synclip_core.sync.report import ScoreReport
from ..shared import sockets
from ..shared.panel import draw_panel
from ..shared.progress import follower
from ..shared.tensors import picture_to_image, shown


def outputs() -> list[io.Output]:
    """Fresh objects: a schema keeps its own."""
    return [
        io.String.Output(
            display_name="verdict",
            tooltip="in_sync, audio_early, audio_late, mixed, drift, does_not_follow or cannot_tell.",
        ),
        io.Float.Output(
            display_name="lag_frames",
            tooltip="At 25 fps; positive: the audio is early. nan where no single lag is right.",
        ),
        io.Float.Output(display_name="lag_ms", tooltip="The lag in milliseconds; nan where no single lag is right."),
        io.Float.Output(display_name="score", tooltip="How well mouth and voice fit as they are; higher is better."),
        io.Float.Output(
            display_name="confidence", tooltip="Probability, 0 to 1, that the lag is right within a frame."
        ),
        io.String.Output(display_name="json", tooltip="Everything, as `synclip score --json` writes it."),
        io.Image.Output(display_name="plot", tooltip="Voice, lag along the clip, and the frames that fit least."),
        sockets.Report.Output(display_name="report", tooltip="For Fix Sync and Sync Gate."),
    ]


def score_file(pipeline: SyncPipeline, path: Path, audio: Path | None = None) -> ScoreReport:
    """A video that cannot be judged, without sound say, is a report too: the other takes of a batch go on. audio: see
    SyncPipeline.score.

    Raises SyncLipError for what is no media file, and where the pipeline was told to stop at a missing face.
    """
    probe(path)
    try:
        return pipeline.score(path, progress=follower(), audio=audio)
    except SyncLipError as error:
        if pipeline.options.missing == "error":
            raise
        return ScoreReport.failed(str(path), str(error).removeprefix(f"{path}: "))


def score_output(node: type[io.ComfyNode], report: ScoreReport, plot: Image.Image) -> io.NodeOutput:
    """What the node gives, and its panel."""
    data = report.to_json()
    return io.NodeOutput(
        report.verdict,
        _number(report.lag_frames),
        _number(report.lag_ms),
        _number(report.score),
        _number(report.confidence),
        json.dumps(data),
        picture_to_image(plot),
        report,
        ui=shown(node, picture_to_image(draw_panel(report)), text=(report.words,), synclip_report=(data,)),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
