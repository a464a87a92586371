"""Demo Video: the bundled clip, in sync or broken on purpose, so that a graph runs before a file is at hand."""

from comfy_api.latest import InputImpl, io

from ...synclip_core.demo import CLIP
from ...synclip_core.demo.two_heads import write_two_heads
from ...synclip_core.sync.align import write_aligned
from ..shared import sockets
from ..shared.sound import audio_of
from ..shared.video_input import output_file


class DemoVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SyncLipDemoVideo",
            display_name="Demo Video",
            category=sockets.CATEGORY,
            description="A short clip that comes with the pack: a drawn head with a synthetic voice. For a first try; "
            "put Load Video in its place for your own.",
            inputs=[
                io.Int.Input(
                    "lag_frames",
                    default=5,
                    min=-25,
                    max=25,
                    tooltip="The lag to put in, at 25 fps. 0: in sync; 5: the audio is 200 ms early; -5: 200 ms late.",
                ),
                io.Int.Input(
                    "heads",
                    default=1,
                    min=1,
                    max=2,
                    tooltip="2: another head stands on the left and says something else, without being heard.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="11 seconds, 320 x 320 a head, 25 fps."),
                io.Audio.Output(display_name="audio", tooltip="Its sound, as Load Audio would give it."),
            ],
        )

    @classmethod
    def execute(cls, lag_frames: int, heads: int = 1) -> io.NodeOutput:
        clip = CLIP
        if heads == 2:
            clip = output_file(".mp4")
            write_two_heads(clip)
        if lag_frames:
            whole, clip = clip, output_file(".mp4")
            write_aligned(whole, clip, -lag_frames)  # repairing a lag that is not there puts the opposite one in
        return io.NodeOutput(InputImpl.VideoFromFile(str(clip)), audio_of(clip))
