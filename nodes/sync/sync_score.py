"""Sync Score: the shortest way from a video to a verdict."""

import os
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...synclip_core.clock import RATE
from ...synclip_core.media.audio import read_audio
from ...synclip_core.sync.plot import draw_report, worst_frames
from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.progress import check_cancel
from ..shared.sound import audio_socket
from ..shared.video_input import temporary_file, video_file, video_name
from .score_output import outputs, score_file, score_output


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
                sockets.model_input(),
                io.String.Input(
                    "face",
                    default="auto",
                    tooltip=sockets.FACE_TOOLTIP + " speaker: the face whose mouth fits the voice best.",
                ),
                io.Combo.Input("missing", options=sockets.MISSING, default="hold", tooltip=sockets.MISSING_TOOLTIP),
                sockets.max_lag_input(),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="Judged instead of the video's own sound, from its first frame on: a voice without its "
                    "music, or a dub.",
                ),
            ],
            outputs=outputs(),
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, face: str | None = "auto", missing: str | None = "hold") -> bool | str:
        wrong = sockets.wrong_face(face)
        return wrong or sockets.one_of(missing=(missing, sockets.MISSING))

    @classmethod
    def execute(
        cls, video: Any, face: str, missing: str, max_lag: int, model: ManagedModel | None = None, audio: Any = None
    ) -> io.NodeOutput:
        pipeline = (model or bundled()).pipeline(face=face, missing=missing, max_lag=max_lag)
        with video_file(video) as path, _sound_file(audio) as sound:
            report = score_file(pipeline, path, sound)
            waveform = None if report.verdict == "error" else read_audio(sound or path)
            plot = draw_report(report, waveform, worst_frames(report, each=check_cancel))
        report.file = os.path.basename(video_name(video))
        report.audio = None if audio is None else "audio"  # the socket's name: the file is gone
        return score_output(cls, report, plot)


@contextmanager
def _sound_file(audio: Any) -> Iterator[Path | None]:
    """AUDIO as a file that lives as long as the block; None where nothing is connected."""
    if audio is None:
        yield None
        return
    with temporary_file(".wav") as path:
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", ""))
            out.writeframes((audio_socket(audio) * 32767).round().astype("<i2").tobytes())
        yield path
