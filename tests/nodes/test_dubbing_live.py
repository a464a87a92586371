"""Dubbing in a real ComfyUI: a small random Wan VACE over the linear code, whole videos. Skipped without ComfyUI."""

import time
import wave

import av
import numpy as np
import pytest
from comfy_common import failure, running

from synclip_core import demo
from synclip_core.dubbing.audiopack_file import load_audiopack, save_audiopack
from synclip_core.dubbing.face import MARGIN
from synclip_core.media.info import probe
from synclip_core.media.video import iter_frames
from synclip_core.media.writer import VideoWriter

pytest.importorskip("diffusers")

from dubbing_demo import SIZE, write_demo  # noqa: E402


def write_part(path, frames, fps=25):
    """The first frames of the demo clip, at another rate."""
    images = [frame.image for frame, _ in zip(iter_frames(demo.CLIP), range(frames), strict=False)]
    height, width = images[0].shape[:2]
    with VideoWriter(path, width, height, fps, audio_from=demo.CLIP) as writer:
        for image in images:
            writer.write(image)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy")
    write_demo(base / "models" / "synclip" / "dubbing" / "small")
    foreign = load_audiopack(base / "models/synclip/dubbing/small/audiopack.safetensors")
    foreign.model = "f" * 64
    (base / "models/synclip/audiopacks").mkdir()
    save_audiopack(base / "models/synclip/audiopacks/foreign.safetensors", foreign)
    (base / "input").mkdir()
    for frames, fps in ((61, 25), (40, 30), (18, 25)):
        write_part(base / "input" / f"{frames}.mp4", frames, fps)
    with av.open(str(base / "input" / "grey.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    with wave.open(str(base / "input" / "voice.wav"), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes((np.random.default_rng(0).normal(0, 3000, (44100 * 3, 2))).astype("<i2").tobytes())
    with running(base) as found:
        yield found


def dub_graph(video="61.mp4", **more):
    sampling = {"seed": 3, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "strength": 1.0}
    rest = {"audio_guidance": 1.0, "face": "auto", "missing": "hold", "crop_size": 0, "match_colours": True, "crf": 0}
    links = {"model": ["1", 0], "vae": ["1", 1], "audiopack": ["1", 2], "positive": ["1", 3], "negative": ["1", 4]}
    ends = {"video": ["2", 0], "tokens": ["4", 0], "audio": ["3", 0], "resume": True}
    return {
        "1": {"class_type": "SyncLipLoadDubbingDemo", "inputs": {"name": "small"}},
        "2": {"class_type": "LoadVideo", "inputs": {"file": video}},
        "3": {"class_type": "LoadAudio", "inputs": {"audio": "voice.wav"}},
        "4": {"class_type": "SyncLipEncodeAudioTokens", "inputs": {"audio": ["3", 0]}},
        "5": {"class_type": "SyncLipDubSampler", "inputs": links | ends | sampling | rest | more},
        "6": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["5", 0], "filename_prefix": "dub", "format": "auto", "codec": "auto"},
        },
    }


def frames_of(path):
    return [frame.image for frame in iter_frames(path)]


def jobs(server):
    return sorted((server.base / "output" / "synclip_jobs").rglob("*.safetensors"))


@pytest.mark.parametrize("video", ["61.mp4", "40.mp4"])
def test_as_many_frames_out_as_in_with_the_new_voice(server, video):
    outputs = server.run(dub_graph(video))
    source, result = server.base / "input" / video, server.saved(outputs, "6")
    before, after, info = frames_of(source), frames_of(result), probe(result)
    assert len(after) == len(before) and info.frame_rate == probe(source).frame_rate
    changed = [(np.abs(a.astype(int) - b) > 12).any(-1) for a, b in zip(before, after, strict=True)]
    assert np.mean([c.any() for c in changed]) > 0.9
    rows = np.concatenate([np.flatnonzero(c.any(1)) for c in changed]) / len(before[0])
    assert rows.min() > 0.4  # the eyes stay (losslessly encoded, but for colours)
    assert not jobs(server)
    with av.open(str(result)) as container:
        sound = container.streams.audio[0]
        assert (sound.rate, sound.codec_context.layout.name) == (44100, "stereo")


def test_the_toy_that_comes_with_the_pack_paints_a_face(server):
    graph = dub_graph("18.mp4", steps=6)
    graph["1"]["inputs"]["name"] = "toy"
    before, after = frames_of(server.base / "input" / "18.mp4"), frames_of(server.saved(server.run(graph), "6"))
    off = np.abs(np.stack(before).astype(int) - np.stack(after))
    changed = off.max(-1) > 12
    assert 0.005 < changed.mean() < 0.2
    assert off[changed].mean() < 40  # a mouth in skin, where noise would be 60 to 90 off


def test_other_tokens_make_another_mouth_and_the_same_ones_the_same(server):
    def dubbed(salt, **more):
        graph = dub_graph("18.mp4", crf=salt, **more)
        return frames_of(server.saved(server.run(graph), "6"))

    first, again = dubbed(0), dubbed(1)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(first, again, strict=True)) <= 12  # crf 0 and 1
    silent = dubbed(0, strength=0.0)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(first, silent, strict=True)) > 30


def test_a_cancelled_dub_goes_on_where_it_stood(server):
    whole = frames_of(server.saved(server.run(dub_graph(steps=3)), "6"))
    graph = dub_graph(steps=3, crf=0, face="largest")  # the same face by another word: not cached
    prompt = server.queue(graph)
    end = time.monotonic() + 120
    while len(jobs(server)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    server.json("/interrupt", {})
    history = server.wait(prompt)
    assert any(kind == "execution_interrupted" for kind, _ in history["status"]["messages"])
    kept = {path.name: path.stat().st_mtime_ns for path in jobs(server)}
    assert 2 <= len(kept) < 4
    prompt, seen = server.queue(graph), {}
    while not seen or (found := jobs(server)):
        seen |= {path.name: path.stat().st_mtime_ns for path in (found if seen else jobs(server)) if path.exists()}
    outputs = server.wait(prompt)["outputs"]
    assert all(seen[name] == written for name, written in kept.items())  # not made again
    after = frames_of(server.saved(outputs, "6"))
    assert all(np.array_equal(a, b) for a, b in zip(whole, after, strict=True))


def test_what_cannot_be_dubbed_says_why(server):
    assert "no face was found" in server.fail(dub_graph("grey.mp4"))
    graph = dub_graph()
    graph["7"] = {"class_type": "SyncLipLoadAudioPack", "inputs": {"file": "audiopacks/foreign.safetensors"}}
    graph["5"]["inputs"]["audiopack"] = ["7", 0]
    assert "driven by tokens of profile" in server.fail(graph)
    assert "multiple of 16" in server.fail(dub_graph(crop_size=72))
    with pytest.raises(RuntimeError, match="speaker"):
        server.queue(dub_graph(face="speaker"))


def test_one_segment_by_hand(server):
    """Dub Conditioning, Apply AudioPack, core's sampler: the references are trimmed and the hole is what changes."""
    graph = {
        "1": dub_graph()["1"],
        "2": dub_graph("18.mp4")["2"],
        "3": dub_graph()["3"],
        "4": dub_graph()["4"],
        "5": {
            "class_type": "SyncLipTrackFaces",
            "inputs": {
                "video": ["2", 0],
                "fps": 25.0,
                "face": "auto",
                "missing": "hold",
                "crop_size": SIZE,
                "margin": round(MARGIN, 4),
            },
        },
        "6": {
            "class_type": "SyncLipDubConditioning",
            "inputs": {
                "positive": ["1", 3],
                "negative": ["1", 4],
                "vae": ["1", 1],
                "crops": ["5", 1],
                "size": SIZE,
                "margin": round(MARGIN, 4),
                "strength": 1.0,
                "identity": ["5", 1],
                "continuity": ["5", 1],
            },
        },
        "7": {
            "class_type": "SyncLipApplyAudioPack",
            "inputs": {
                "model": ["1", 0],
                "audiopack": ["1", 2],
                "tokens": ["4", 0],
                "strength": 1.0,
                "start_percent": 0.0,
                "end_percent": 1.0,
                "audio_guidance": 1.0,
                "references": ["6", 3],
                "first_frame": 0,
            },
        },
        "8": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["7", 0],
                "positive": ["6", 0],
                "negative": ["6", 1],
                "latent_image": ["6", 2],
                "seed": 1,
                "steps": 2,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "simple",
                "denoise": 1.0,
            },
        },
        "9": {"class_type": "TrimVideoLatent", "inputs": {"samples": ["8", 0], "trim_amount": ["6", 3]}},
        "10": {"class_type": "VAEDecode", "inputs": {"samples": ["9", 0], "vae": ["1", 1]}},
        "11": {"class_type": "SaveImage", "inputs": {"images": ["10", 0], "filename_prefix": "segment"}},
    }
    history = server.wait(server.queue(graph))
    assert history["status"]["status_str"] == "success", failure(history)
    assert len(history["outputs"]["11"]["images"]) == 21  # 18 frames, filled up to 4 n + 1
