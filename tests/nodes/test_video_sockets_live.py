"""VIDEO sockets as cores give them: made of images, trimmed, cropped, joined, without sound. In a real ComfyUI."""

import re
from pathlib import Path

import av
import numpy as np
import pytest
from comfy_common import packets, running, workflow
from PIL import Image

from synclip_core.demo import CLIP
from synclip_core.media.audio import NativeAudio, read_audio_native
from synclip_core.media.info import probe
from synclip_core.media.video import iter_frames
from synclip_core.media.writer import VideoWriter
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.align import write_aligned

# what newer cores' Load Video gives when its picture is cropped, by their public methods; on any core
CROP = """
import av
from comfy_api.latest import InputImpl

class Cropped(InputImpl.VideoFromFile):
    def __init__(self, file, left):
        super().__init__(file)
        self.left = left

    def has_pending_frame_edits(self):
        return True

    def get_dimensions(self):
        return 320, 320

    def get_components(self):
        raise MemoryError("the whole video at once")

    def save_to(self, path, *args, **kwargs):
        with av.open(self.get_stream_source()) as source, av.open(path, "w") as out:
            picture, sound = source.streams.video[0], source.streams.audio[0]
            written, copied = out.add_stream("libx264", rate=25), out.add_stream_from_template(sound)
            written.width, written.height, written.pix_fmt = 320, 320, "yuv420p"
            for packet in source.demux(picture, sound):
                if packet.stream is picture:
                    for frame in packet.decode():
                        image = frame.to_ndarray(format="rgb24")[:, self.left : self.left + 320].copy()
                        out.mux(written.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                elif packet.dts is not None:
                    packet.stream = copied
                    out.mux(packet)
            out.mux(written.encode(None))

class CropVideo:
    CATEGORY, FUNCTION, RETURN_TYPES = "other", "run", ("VIDEO",)
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"video": ("VIDEO",), "left": ("INT", {"default": 0})}}
    def run(self, video, left):
        return (Cropped(video.get_stream_source(), left),)
NODE_CLASS_MAPPINGS = {"OtherCropVideo": CropVideo}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy")
    (base / "custom_nodes" / "other_pack").mkdir(parents=True)
    (base / "custom_nodes" / "other_pack" / "__init__.py").write_text(CROP)
    with running(base) as found:
        found.put(CLIP, "speech.mp4")
        write_aligned(CLIP, found.base / "input" / "early.mp4", -5)
        yield found


def score_of(video):
    inputs = {"video": video, "face": "auto", "missing": "hold", "max_lag": 15}
    return {"class_type": "SyncLipSyncScore", "inputs": inputs}


def fix_of(video, **more):
    inputs = {"video": video, "audio": "encode", "if_unclear": "pass the video on"}
    return {"class_type": "SyncLipFixSync", "inputs": inputs | more}


def save_of(video, prefix="saved"):
    return {
        "class_type": "SaveVideo",
        "inputs": {"video": video, "filename_prefix": prefix, "format": "auto", "codec": "auto"},
    }


def load(name):
    return {"class_type": "LoadVideo", "inputs": {"file": name}}


def from_images(name):
    """A file as generators hand it on: images and sound into Create Video."""
    return {
        "1": load(name),
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": 25.0}},
    }


def test_images_are_fixed_at_the_size_and_format_that_save_video_gives(server):
    graph = from_images("early.mp4") | {
        "4": fix_of(["3", 0]),
        "5": save_of(["4", 0], "fixed"),
        "6": save_of(["3", 0], "plain"),
    }
    outputs = server.run(graph)
    fixed, plain = server.saved(outputs, "5"), server.saved(outputs, "6")
    with av.open(str(fixed)) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.profile) == ("yuv420p", "High")
    print(f"fixed {fixed.stat().st_size / 1e3:.0f} kB, saved as it is {plain.stat().st_size / 1e3:.0f} kB")
    assert fixed.stat().st_size < 1.5 * plain.stat().st_size
    words = outputs["4"]["text"][0]
    assert "audio moved" in words and "untouched" not in words and "picture encoded" in words
    assert SyncPipeline().score(fixed).verdict == "in_sync"


def test_images_are_scored_as_their_file(server):
    said = server.run(from_images("early.mp4") | {"4": score_of(["3", 0])})["4"]["synclip_report"][0]
    want = SyncPipeline().score(server.base / "input" / "early.mp4")
    assert said["verdict"] == want.verdict == "audio_early" and said["lag_frames"] == want.lag_frames


def two_heads(path, left):
    """The clip twice, side by side; the other one stands on its head in time, so that it says something else."""
    images = [frame.image for frame in iter_frames(CLIP)]
    with VideoWriter(path, 640, 320, 25, audio_from=CLIP, preset="ultrafast") as writer:
        for talks, other in zip(images, reversed(images), strict=True):
            writer.write(np.concatenate([talks, other] if left else [other, talks], 1))


def test_a_crop_is_what_is_judged_and_what_is_fixed(server):
    two_heads(server.base / "input" / "both.mp4", left=False)
    for left, found in ((0, False), (320, True)):
        crop = {"class_type": "OtherCropVideo", "inputs": {"video": ["1", 0], "left": left}}
        graph = {"1": load("both.mp4"), "2": crop, "3": score_of(["2", 0]), "4": fix_of(["2", 0], lag_frames=["6", 0])}
        graph |= {"5": save_of(["4", 0], "crop"), "6": {"class_type": "PrimitiveFloat", "inputs": {"value": 5.0}}}
        outputs = server.run(graph)
        report = outputs["3"]["synclip_report"][0]
        assert report["faces"] == 1 and (report["verdict"] == "in_sync") == found
        assert probe(server.saved(outputs, "5")).width == 320
        assert "picture encoded" in outputs["4"]["text"][0]


def peak(server, graph):
    """Outputs, and by how many MB the server's memory rose at most."""

    def status(name):
        text = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024

    server.run({"1": load("speech.mp4"), "2": score_of(["1", 0])})  # the model is loaded, the libraries warm
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = status("VmRSS")
    outputs = server.run(graph)
    return outputs, status("VmHWM") - before


def test_a_trim_is_judged_as_it_is_and_costs_no_memory(server):
    if "Video Slice" not in server.json("/object_info"):
        pytest.skip("this core cannot trim a VIDEO")
    images = [frame.image for frame in iter_frames(CLIP)][:160]
    with VideoWriter(server.base / "input" / "hd.mp4", 1920, 1080, 25, audio_from=CLIP, preset="ultrafast") as writer:
        for image in images:
            frame = np.full((1080, 1920, 3), 70, np.uint8)
            frame[60:1020, 480:1440] = np.asarray(Image.fromarray(image).resize((960, 960)))
            writer.write(frame)
    graph = {
        "1": load("hd.mp4"),
        "2": {
            "class_type": "Video Slice",
            "inputs": {"video": ["1", 0], "start_time": 1.0, "duration": 5.0, "strict_duration": False},
        },
        "3": score_of(["2", 0]),
        "4": fix_of(["2", 0], lag_frames=["6", 0]),
        "5": save_of(["4", 0], "trim"),
        "6": {"class_type": "PrimitiveFloat", "inputs": {"value": 5.0}},
    }
    outputs, risen = peak(server, graph)
    print(f"5 s of 1080p: {risen:.0f} MB")
    report = outputs["3"]["synclip_report"][0]
    assert report["verdict"] == "in_sync" and abs(report["duration_s"] - 5) < 0.1
    assert abs(probe(server.saved(outputs, "5")).duration_s - 5) < 0.1
    assert risen < 1000


def test_an_untrimmed_video_is_copied_and_keeps_its_name(server):
    outputs = server.run(
        {"1": load("early.mp4"), "2": score_of(["1", 0]), "3": fix_of(["1", 0]), "4": save_of(["3", 0])}
    )
    assert outputs["2"]["synclip_report"][0]["file"] == "early.mp4"
    assert "video untouched" in outputs["3"]["text"][0]
    assert packets(server.saved(outputs, "4")) == packets(server.base / "input" / "early.mp4")


# ---- what the name of a file says ----------------------------------------------------------------------------------


def mute(server):
    """A take without sound."""
    path = server.base / "input" / "mute.mp4"
    if not path.exists():
        with VideoWriter(path, 320, 320, 25, preset="ultrafast") as writer:
            for frame, _ in zip(iter_frames(CLIP), range(50), strict=False):
                writer.write(frame.image)
    return path.name


def test_the_name_of_a_fixed_file_says_what_became_of_it(server):
    for clip, said in (("early.mp4", "repaired"), ("speech.mp4", "in-sync"), (mute(server), "unclear")):
        saved = server.saved(server.run(workflow("fix_sync", n1__file=clip)), "4")
        assert saved.name.startswith(said), clip


def test_the_gate_saves_nothing_that_did_not_pass(server):
    """Not what is unclear, nor what was in sync in its first half only; what was repaired was judged again."""
    native = read_audio_native(CLIP)
    half = native.samples.shape[1] // 2
    for name, second in (
        ("reversed", native.samples[:, half:][:, ::-1]),
        ("silent", native.samples[:, half:] * 0),
    ):
        samples = np.concatenate([native.samples[:, :half], second], 1)
        with VideoWriter(
            server.base / "input" / f"{name}.mp4", 320, 320, 25, audio=NativeAudio(samples, native.rate, native.layout)
        ) as writer:
            for frame in iter_frames(CLIP):
                writer.write(frame.image)
    for clip in ("reversed.mp4", "silent.mp4", mute(server)):
        outputs = server.run(workflow("gate_generation", n1__file=clip))
        saved = [
            node for node, shown in outputs.items() if any(n["filename"].endswith(".mp4") for n in shown["images"])
        ]
        assert not outputs["3"]["synclip_gate"][0]["ok"] and not saved, clip
    outputs = server.run(workflow("gate_generation", n1__file="early.mp4"))
    assert SyncPipeline().score(server.saved(outputs, "6")).verdict == "in_sync" and "4" not in outputs


def test_a_take_without_sound_is_a_verdict_and_the_batch_goes_on(server):
    outputs = server.run(
        {
            "1": load(mute(server)),
            "2": score_of(["1", 0]),
            "3": fix_of(["1", 0]),
            "4": {"class_type": "SyncLipFindSpeaker", "inputs": {"video": ["1", 0], "max_lag": 15}},
            "5": load("speech.mp4"),
            "6": score_of(["5", 0]),
            "7": save_of(["3", 0], "mute"),
        }
    )
    assert outputs["2"]["synclip_report"][0]["verdict"] == "error"
    assert all("no audio track" in outputs[node]["text"][0] for node in "234")
    assert outputs["6"]["text"] == ["in sync"]
