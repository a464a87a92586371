"""Fix Sync: the audio moves, the picture of a file stays bit for bit."""

from typing import Any

from comfy_api.latest import InputImpl, io

from ...synclip_core.errors import SyncLipError
from ...synclip_core.sync.align import write_aligned
from ...synclip_core.sync.report import ScoreReport
from ..shared import sockets
from ..shared.managed_model import ManagedModel, bundled
from ..shared.panel import BLUE, GREY, draw_message
from ..shared.progress import check_cancel
from ..shared.tensors import picture_to_image, shown
from ..shared.video_input import TO_KEEP, is_file, output_file, video_file
from .score_output import score_file

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
AUDIO = ["encode", "copy"]
UNCLEAR = ["pass the video on", "stop"]
UNTOUCHED, ENCODED = ", video untouched", "picture encoded as Save Video does: it was no whole file"


class FixSync(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipFixSync",
            display_name="Fix Sync",
            category=sockets.CATEGORY,
            description="Moves the audio so that it fits the mouth. A file's picture is copied, not encoded again.",
            inputs=[
                io.Video.Input("video", tooltip="The video to repair."),
                sockets.Report.Input(
                    "report", optional=True, tooltip="From Sync Score. Nothing connected: the lag is measured here."
                ),
                sockets.model_input(),
                io.Float.Input(
                    "lag_frames",
                    optional=True,
                    force_input=True,
                    tooltip="Repair this lag (at 25 fps, positive: the audio is early) and do not measure.",
                ),
                io.Combo.Input(
                    "audio",
                    options=AUDIO,
                    default="encode",
                    tooltip="encode: move the sound itself, which every player honours; copy: move time stamps only, "
                    "without any loss.",
                ),
                io.Combo.Input(
                    "if_unclear",
                    options=UNCLEAR,
                    default=UNCLEAR[0],
                    tooltip="Where the lag cannot be told. pass the video on: as it is; stop: with an error.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The repaired video, for Save Video."),
                io.String.Output(display_name="words", tooltip="What was done."),
                io.Float.Output(display_name="moved_ms", tooltip="How far the audio was moved; above 0: to later."),
                io.String.Output(
                    display_name="prefix",
                    tooltip="What became of it, for the filename_prefix of Save Video: video/repaired, video/in-sync "
                    "or video/unclear.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, audio: str = "encode", if_unclear: str = UNCLEAR[0]) -> bool | str:
        return sockets.one_of(audio=(audio, AUDIO), if_unclear=(if_unclear, UNCLEAR))

    @classmethod
    def execute(
        cls,
        video: Any,
        audio: str,
        if_unclear: str,
        report: ScoreReport | None = None,
        model: ManagedModel | None = None,
        lag_frames: float | None = None,
    ) -> io.NodeOutput:
        with video_file(video, TO_KEEP) as path:
            if lag_frames is None:
                report = report or score_file((model or bundled()).pipeline(), path)
                lag_frames = report.repair_frames
                if lag_frames is None:
                    words = f"{report.words}. Nothing was changed."
                    if if_unclear == UNCLEAR[1]:
                        raise SyncLipError(f"Fix Sync: {words} Set if_unclear to pass such videos on.")
                    return _output(cls, video, words, "unclear")
            if lag_frames == 0:
                return _output(cls, video, "was in sync already, handed on as it is", "in-sync")
            check_cancel()
            suffix = path.suffix.lower() if path.suffix.lower() in SUFFIXES else ".mkv"
            fixed = output_file(suffix)
            done = write_aligned(path, fixed, lag_frames, audio=audio)
        did = done.words if is_file(video) else f"{done.words.removesuffix(UNTOUCHED)}, {ENCODED}"
        words = "; ".join([did, *done.notes])
        return _output(cls, InputImpl.VideoFromFile(str(fixed)), words, "repaired", done.delay_s * 1000)


def _output(node: type[io.ComfyNode], video: Any, words: str, state: str, moved_ms: float = 0.0) -> io.NodeOutput:
    picture = picture_to_image(draw_message(words, BLUE if moved_ms else GREY))
    return io.NodeOutput(video, words, moved_ms, f"video/{state}", ui=shown(node, picture, text=(words,)))
