"""The pack in a real ComfyUI: its nodes, its workflows, its errors. Skipped where there is no ComfyUI."""

import json
import re
import time
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from comfy_common import PACK, ROOT, packets, running, workflow
from PIL import Image

from synclip_core.attributes.head_file import load_head, save_head
from synclip_core.demo import CLIP
from synclip_core.demo.two_heads import write_two_heads
from synclip_core.media.audio import NativeAudio, read_audio_native
from synclip_core.media.video import iter_frames
from synclip_core.media.writer import VideoWriter
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.align import write_aligned

NODES = sorted(re.findall(r'node_id="(\w+)"', "".join(p.read_text() for p in (ROOT / "nodes").rglob("*.py"))))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("comfy")) as found:
        found.put(CLIP, "speech.mp4")
        write_two_heads(found.base / "input" / "two_heads.mp4")
        yield found


@pytest.fixture(scope="module")
def pipeline():
    return SyncPipeline()


@pytest.fixture(scope="module")
def early(server):
    """The clip with its audio 200 ms early, as a file in the input folder."""
    write_aligned(CLIP, server.base / "input" / "early.mp4", -5)
    return server.base / "input" / "early.mp4"


def test_every_node_is_there_and_explains_every_input(server):
    info = server.json("/object_info")
    assert sorted(name for name in info if name.startswith("SyncLip")) == NODES and len(NODES) >= 9
    for name in NODES:
        node = info[name]
        assert node["category"] == "SyncLip" and node["description"], name
        assert all(node["output_tooltips"]), name
        for group in ("required", "optional"):
            for field, spec in node["input"].get(group, {}).items():
                assert len(spec[1].get("tooltip", "")) > 10, f"{name}.{field} has no tooltip"


def test_loading_is_quiet_and_fast(server):
    lines = [line for line in server.log.read_text().splitlines() if "synclip" in line.lower()]
    imports = [re.search(r"([\d.]+) seconds", line) for line in lines if "seconds" in line]
    assert len(imports) == 1 and imports[0] and float(imports[0][1]) < 1, lines
    assert not any("fail" in line.lower() or "warning" in line.lower() for line in lines), lines


@pytest.mark.parametrize("name, node", [("score_video", "2"), ("score_tokens", "6")])
@pytest.mark.parametrize("clip", ["speech.mp4", "early.mp4"])
def test_score_equals_the_library(server, pipeline, early, name, node, clip):
    """To the last digit, whether in one node or from parts."""
    said = server.run(workflow(name, n1__file=clip))[node]["synclip_report"][0]
    want = pipeline.score(server.base / "input" / clip).to_json()
    assert want["verdict"] == ("in_sync" if clip == "speech.mp4" else "audio_early")
    said["file"] = want["file"] = clip
    if name == "score_tokens":  # tokens know neither the faces nor the tracks of the file that they came from
        assert said["tracks"] == [] and said["audio_track"] is None
        want |= {"tracks": [], "audio_track": None}
    assert said == want


def test_sync_score_judges_the_sound_that_is_connected(server, early):
    """The sound of the file whose audio is 200 ms early, on the picture of the other."""
    graph = workflow("score_video", n1__file="speech.mp4")
    graph["8"] = {"class_type": "LoadVideo", "inputs": {"file": "early.mp4"}}
    graph["9"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["8", 0]}}
    graph["2"]["inputs"]["audio"] = ["9", 1]
    said = server.run(graph)["2"]["synclip_report"][0]
    assert (said["verdict"], said["lag_frames"], said["audio"]) == ("audio_early", 5, "audio")


def test_sync_score_shows_its_picture(server):
    outputs = server.run(workflow("score_video"))
    picture = np.asarray(Image.open(server.saved(outputs, "2")).convert("RGB"))
    assert picture.shape == (416, 640, 3)
    left = picture[50, 2].astype(int)  # the bar at the edge: green for a clip in sync
    assert left[1] > left[0] + 50 and left[1] > left[2] + 50


def test_fix_sync_repairs_and_leaves_the_picture(server, pipeline, early):
    outputs = server.run(workflow("fix_sync", n1__file=early.name))
    fixed = server.saved(outputs, "4")
    moved = int(re.search(r"audio moved (\d+) ms later", outputs["3"]["text"][0])[1])
    assert abs(moved - 200) <= 40
    assert pipeline.score(early).verdict == "audio_early"
    assert pipeline.score(fixed).verdict == "in_sync"
    assert packets(fixed) == packets(early)


def test_the_speaker_is_found_and_followed(server, pipeline):
    """The same answer as the library's, and the nodes that are given the place judge that face."""
    outputs = server.run(workflow("find_speaker"))
    clip = server.base / "input" / "two_heads.mp4"
    want = [face.to_json() for face in pipeline.speakers(clip)]
    assert outputs["2"]["synclip_faces"][0] == want
    assert [face["talks"] for face in want] == [True, False] and want[0]["index"] == 1
    score = SyncPipeline(pipeline.checkpoint, face=want[0]["face"]).score(clip).to_json()
    said = outputs["3"]["synclip_report"][0]
    assert {**said, "file": ""} == {**score, "file": ""} and said["verdict"] == "in_sync"
    picture = np.asarray(Image.open(server.saved(outputs, "2")).convert("RGB"))
    assert picture.shape[1] == 640 and picture.shape[0] > 250


def test_the_gate_lets_through_what_is_in_sync(server, pipeline, early):
    outputs = server.run(workflow("gate_generation"))
    assert outputs["3"]["synclip_gate"][0] == {"ok": True, "why": "passed: in sync"}
    assert packets(server.saved(outputs, "4")) == packets(CLIP) and "6" not in outputs
    outputs = server.run(workflow("gate_generation", n1__file=early.name))
    gate = outputs["3"]["synclip_gate"][0]
    assert not gate["ok"] and "early, more than 40 ms" in gate["why"] and "4" not in outputs
    assert pipeline.score(server.saved(outputs, "6")).verdict == "in_sync"
    outputs = server.run(workflow("gate_generation", n1__file=early.name, n3__max_lag_ms=250))
    assert outputs["3"]["synclip_gate"][0]["ok"] and "4" in outputs and "6" not in outputs
    outputs = server.run(workflow("gate_generation", n3__min_score=1.9))
    assert "is below 1.9" in outputs["3"]["synclip_gate"][0]["why"]
    words = server.fail(workflow("gate_generation", n1__file=early.name, n3__on_fail="stop with an error"))
    assert words.startswith("SyncLipSyncGate: Sync Gate: audio is")


def test_saved_tokens_give_the_same_score(server):
    outputs = server.run(workflow("score_tokens"))
    saved = outputs["7"]["text"][0].split(": ")[0]
    assert saved.startswith("tokens/synclip_") and saved.endswith(".safetensors [output]")
    options = server.json("/object_info/SyncLipLoadTokens")["SyncLipLoadTokens"]["input"]["required"]["file"]
    assert saved in (options[1]["options"] if options[0] == "COMBO" else options[0])
    graph = {
        "1": {"class_type": "SyncLipLoadTokens", "inputs": {"file": saved}},
        "2": {
            "class_type": "SyncLipSyncScoreTokens",
            "inputs": {"audio_tokens": ["1", 0], "vocal_tokens": ["1", 1], "max_lag": 15},
        },
    }
    assert server.run(graph)["2"]["synclip_report"] == outputs["6"]["synclip_report"]


def test_token_files_stay_in_their_folders(server):
    load = {"1": {"class_type": "SyncLipLoadTokens", "inputs": {"file": "../outside.safetensors"}}}
    load["2"] = {"class_type": "SyncLipSaveTokens", "inputs": {"audio_tokens": ["1", 0], "filename_prefix": "x"}}
    (server.base / "outside.safetensors").write_bytes(b"none of your business")
    with pytest.raises(RuntimeError, match="not a .safetensors file of ComfyUI's input or output folder"):
        server.queue(load)
    load["1"]["inputs"]["file"] = "gone.safetensors"
    with pytest.raises(RuntimeError, match="is not there"):
        server.queue(load)
    words = server.fail(workflow("score_tokens", n7__filename_prefix="../../escaped"))
    assert "leads out of ComfyUI's output folder" in words and not list(server.base.parent.glob("escaped*"))


def test_edited_crops_come_back_where_they_were(server):
    outputs = server.run(workflow("edit_mouth"))
    result = server.saved(outputs, "6")
    with av.open(str(result)) as container:
        assert container.streams.audio
    before, after = [list(iter_frames(path)) for path in (CLIP, result)]
    assert len(before) == len(after)
    for k in (0, len(before) // 2, len(before) - 1):
        change = np.abs(before[k].image.astype(int) - after[k].image).mean(-1)
        rows, columns = np.nonzero(change > 60)
        assert len(rows) > 1000, "the inverted mouth is not there"
        assert 120 < rows.mean() < 280 and 100 < columns.mean() < 220
        assert change[:60].max() < 30, "the hair changed"


def test_large_pictures_at_another_rate_are_pasted_in_place(server):
    """Tracked in a reduced picture, pasted into the whole one: the edit lies where it lay in the small clip."""
    left, zoom = 500, 900 / 320
    frames = [frame.image for frame in iter_frames(CLIP)][:60]
    with VideoWriter(server.base / "input" / "large.mp4", 1600, 900, 30, audio_from=CLIP, preset="ultrafast") as writer:
        for image in frames:
            large = Image.new("RGB", (1600, 900), (60, 70, 90))
            large.paste(Image.fromarray(image).resize((900, 900)), (left, 0))
            writer.write(np.asarray(large))
    where = []
    for name, options in (("speech.mp4", {}), ("large.mp4", {"n2__crop_size": 112, "n2__margin": 0.0})):
        result = server.saved(server.run(workflow("edit_mouth", n1__file=name, **options)), "6")
        pairs = zip(iter_frames(server.base / "input" / name), iter_frames(result), strict=True)
        before, after = next(pair for pair in pairs if pair[0].index == 40)
        change = np.abs(before.image.astype(int) - after.image).mean(-1)
        rows, columns = np.nonzero(change > 60)
        where.append(np.array([columns.mean(), rows.mean()]))
    assert np.abs(where[0] * zoom + [left, 0] - where[1]).max() < 15


def test_pasting_keeps_a_variable_rate(server):
    source, times = server.base / "input" / "variable.mp4", np.cumsum([0, *([0.04, 0.02, 0.06, 0.1] * 15)])
    with VideoWriter(source, 320, 320, 18, audio_from=CLIP, preset="ultrafast", variable=True) as writer:
        for time_s, frame in zip(times, iter_frames(CLIP), strict=False):
            writer.write(frame.image, float(time_s))
    result = server.saved(server.run(workflow("edit_mouth", n1__file=source.name)), "6")
    np.testing.assert_allclose([frame.time_s for frame in iter_frames(result)], times, atol=0.001)


def test_unedited_crops_change_no_frame(server):
    """Through IMAGE sockets, without a codec in between, paste-back of what was cut is the identity."""
    graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "speech.mp4"}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "ImageFromBatch", "inputs": {"image": ["2", 0], "batch_index": 30, "length": 12}},
        "4": {
            "class_type": "SyncLipTrackFaces",
            "inputs": {
                "images": ["3", 0],
                "fps": 25.0,
                "face": "0",
                "missing": "hold",
                "crop_size": 160,
                "margin": 0.1,
            },
        },
        "5": {
            "class_type": "SyncLipPasteFaces",
            "inputs": {
                "faces": ["4", 0],
                "crops": ["4", 1],
                "images": ["3", 0],
                "feather": 0.1,
                "guessed": True,
                "crf": 17,
            },
        },
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 1], "filename_prefix": "same"}},
    }
    outputs = server.run(graph)
    pictures = [
        np.asarray(Image.open(server.base / "output" / entry["subfolder"] / entry["filename"]).convert("RGB"))
        for entry in outputs["6"]["images"]
    ]
    assert len(pictures) == 12
    with av.open(str(CLIP)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)][30:42]
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(frames, pictures, strict=True))


def test_frame_masks_lie_on_the_mouth(server):
    graph = workflow("edit_mouth", n3__over="frames")
    graph = {k: graph[k] for k in "123"}
    graph["7"] = {"class_type": "MaskToImage", "inputs": {"mask": ["3", 0]}}
    graph["8"] = {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "mask"}}
    entries = server.run(graph)["8"]["images"]
    frames = list(iter_frames(CLIP))
    assert len(entries) == len(frames)
    mask = np.asarray(Image.open(server.base / "output" / entries[0]["filename"]).convert("L")) / 255
    assert mask.shape == frames[0].image.shape[:2]
    red = (frames[0].image[..., 0].astype(float) - frames[0].image[..., 1]) * mask  # lips are the reddest there
    y, x = np.unravel_index(red.argmax(), red.shape)
    assert mask[y, x] > 0.9 and 0.01 < mask.mean() < 0.2


# ---- errors and the server's life --------------------------------------------------------------------------------


def write_clip(path, image, sound):
    audio = NativeAudio(np.zeros((1, 48000), np.float32), 16000, "mono") if sound else None
    with VideoWriter(path, image.shape[1], image.shape[0], 25, audio=audio) as writer:
        for _ in range(50):
            writer.write(image)


def test_no_face_is_a_verdict_and_a_plain_error(server):
    write_clip(server.base / "input" / "empty.mp4", np.full((120, 160, 3), 90, np.uint8), True)
    outputs = server.run(workflow("score_video", n1__file="empty.mp4"))
    assert outputs["2"]["synclip_report"][0]["verdict"] == "cannot_tell"
    assert "no face" in outputs["2"]["text"][0]
    words = server.fail(workflow("score_tokens", n1__file="empty.mp4"))
    assert words.startswith("SyncLipTrackFaces: no face was found") and "\n" not in words.strip()


def test_no_sound_says_so_and_the_server_lives(server):
    write_clip(server.base / "input" / "mute.mp4", next(iter(iter_frames(CLIP))).image, False)
    outputs = server.run(workflow("score_video", n1__file="mute.mp4"))
    assert "no audio track" in outputs["2"]["text"][0]
    assert outputs["2"]["synclip_report"][0]["verdict"] == "error"
    words = server.fail(workflow("score_video", n1__file="mute.mp4", n2__missing="error"))
    assert words.startswith("SyncLipSyncScore: ") and "no audio track" in words
    assert server.run(workflow("score_video"))["2"]["text"] == ["in sync"]


def test_tokens_of_two_clips_do_not_pair(server):
    graph = workflow("score_tokens")
    with av.open(str(CLIP)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)][:100]
    with VideoWriter(server.base / "input" / "short.mp4", 320, 320, 25, audio_from=CLIP) as writer:
        for frame in frames:
            writer.write(frame)
    graph["7"] = {"class_type": "LoadVideo", "inputs": {"file": "short.mp4"}}
    graph["5"]["inputs"]["video"] = ["7", 0]
    words = server.fail(graph)
    assert "audio_tokens last 4.00 s" in words and "vocal_tokens 11.28 s" in words
    graph["6"]["inputs"]["audio_tokens"] = ["4", 1]
    assert "got identity tokens" in server.fail(graph)


def test_wrong_words_are_refused_before_anything_runs(server):
    with pytest.raises(RuntimeError, match="expected auto, largest, longest, speaker"):
        server.queue(workflow("score_video", n2__face="the left one"))
    with pytest.raises(RuntimeError, match="bigger than max"):
        server.queue(workflow("score_video", n2__max_lag=1000))
    with pytest.raises(RuntimeError, match="missing='guess' is not in the list"):
        server.queue(workflow("score_video", n2__missing="guess"))
    with pytest.raises(RuntimeError, match="speaker"):
        server.queue(workflow("score_tokens", n3__face="speaker"))


def test_model_files_come_from_the_folder_only(server):
    folder = server.base / "models" / "synclip"
    torch.save({"weight": torch.zeros(1)}, folder / "pickled.pt")
    torch.save({"weight": torch.zeros(1)}, folder / "disguised.safetensors")
    options = server.json("/object_info/SyncLipLoadModel")["SyncLipLoadModel"]["input"]["required"]["checkpoint"]
    listed = options[1]["options"] if options[0] == "COMBO" else options[0]
    assert listed[0] == "bundled" and "disguised.safetensors" in listed and "pickled.pt" not in listed
    graph = workflow("score_tokens", n2__checkpoint="../../../outside.safetensors")
    refused = server.json("/prompt", {"prompt": graph})  # Track Faces needs no model and runs all the same
    assert "not in the list" in json.dumps(refused["node_errors"]["2"])
    words = server.fail(workflow("score_tokens", n2__checkpoint="disguised.safetensors"))
    assert "not a safetensors file" in words and "can run code" in words


def test_half_precision_weights_hardly_change_the_score(server):
    exact = server.run(workflow("score_tokens"))["6"]["synclip_report"][0]
    half = server.run(workflow("score_tokens", n2__dtype="float16"))["6"]["synclip_report"][0]
    assert half["verdict"] == exact["verdict"] and half["lag_frames"] == exact["lag_frames"]
    assert abs(half["score"] - exact["score"]) < 0.01


def long_clip(path):
    """The clip eight times over."""
    frames = [frame.image for frame in iter_frames(CLIP)]
    sound = read_audio_native(CLIP)
    sound = NativeAudio(np.tile(sound.samples, 8), sound.rate, sound.layout)
    with VideoWriter(path, 320, 320, 25, audio=sound, preset="ultrafast") as writer:
        for image in frames * 8:
            writer.write(image)


def test_cancel_ends_within_a_second_and_the_next_prompt_runs(server):
    long_clip(server.base / "input" / "long.mp4")
    prompt = server.queue(workflow("score_video", n1__file="long.mp4"))
    time.sleep(2)
    assert not server.json(f"/history/{prompt}"), "too short a clip for this test"
    server.json("/interrupt", {})
    asked = time.monotonic()
    history = server.wait(prompt, 30)
    assert time.monotonic() - asked < 1.5
    assert any(kind == "execution_interrupted" for kind, _ in history["status"]["messages"])
    assert server.run(workflow("score_video"))["2"]["text"] == ["in sync"]


def test_two_prompts_wait_for_each_other_and_results_are_cached(server, early):
    first = server.queue(workflow("score_video", n2__max_lag=10))
    second = server.queue(workflow("score_video", n1__file=early.name, n2__max_lag=10))
    verdicts = [server.wait(p)["outputs"]["2"]["synclip_report"][0]["verdict"] for p in (first, second)]
    assert verdicts == ["in_sync", "audio_early"]
    again = server.wait(server.queue(workflow("score_video", n1__file=early.name, n2__max_lag=10)))
    cached = [data["nodes"] for kind, data in again["status"]["messages"] if kind == "execution_cached"]
    assert cached and set(cached[0]) == {"1", "2", "3"}


# ---- what the page asks for --------------------------------------------------------------------------------------


def test_templates_and_help_pages_are_served(server):
    names = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    assert sorted(server.json("/workflow_templates")[PACK]) == names
    for name in names:
        assert server.json(f"/api/workflow_templates/{PACK}/{name}.json")["nodes"]
        assert server.get(f"/api/workflow_templates/{PACK}/{name}.jpg")[:2] == b"\xff\xd8"
    for node in NODES:
        assert server.get(f"/extensions/{PACK}/docs/{node}.md").startswith(b"# ")


MODEL_FILES = {  # the user's to bring
    "UNETLoader.unet_name",
    "VAELoader.vae_name",
    "CLIPLoader.clip_name",
    "SyncLipLoadAudioPack.file",
    "SyncLipLoadDubbingDemo.name",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json")))
def test_templates_fit_the_nodes(server, name):
    """Every node is known, every link joins sockets of one type, every widget has a value that its node accepts."""
    info = server.json("/object_info")
    graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
    nodes = {node["id"]: node for node in graph["nodes"]}
    for node in nodes.values():
        if node["type"] == "MarkdownNote":
            continue
        spec = info[node["type"]]
        fields = {**spec["input"].get("required", {}), **spec["input"].get("optional", {})}
        assert [i["name"] for i in node["inputs"] if "widget" not in i] == [
            field for field, kind in fields.items() if is_socket(kind)
        ]
        widgets = [(field, kind) for field, kind in fields.items() if not is_socket(kind)]
        for (field, kind), value in zip(widgets, node.get("widgets_values") or [], strict=True):
            if f"{node['type']}.{field}" in MODEL_FILES:
                continue
            limits = kind[1] if len(kind) > 1 else {}
            options = kind[0] if isinstance(kind[0], list) else limits.get("options")
            if kind[0] == DYNAMIC:
                options = [option["key"] for option in options]
            assert options is None or value in options, f"{node['type']}.{field}"
            assert limits.get("min", value) <= value <= limits.get("max", value), f"{node['type']}.{field}"
    for _, start, output, end, entry, kind in graph["links"]:
        leaves, enters = info[nodes[start]["type"]]["output"][output], nodes[end]["inputs"][entry]["type"]
        assert kind in (leaves, enters) and (leaves == enters or "*" in (leaves, enters))


DYNAMIC = "COMFY_DYNAMICCOMBO_V3"  # newer cores: a choice that brings inputs of its own


def is_socket(kind):
    widgets = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC)
    return not isinstance(kind[0], list) and (kind[0] not in widgets or kind[1].get("forceInput", False))


def test_attributes_equal_the_library(server, pipeline):
    """To the last digit, and the picture shows when the mouth talks."""
    outputs = server.run(workflow("classify"))
    want = pipeline.classify(CLIP).to_json() | {"file": "tokens"}
    assert outputs["4"]["synclip_attributes"][0] == want and outputs["4"]["text"][0] == want["words"]
    assert [label["label"] for label in want["labels"]][:2] == ["speaking", "mouth_open"]
    picture = np.asarray(Image.open(server.saved(outputs, "4")).convert("RGB"))
    assert picture.shape[1] == 640 and picture.shape[0] == 116 + 60 * 4 + 36
    sampled = server.run(workflow("classify", n4__frames="16", n4__threshold=0.99))["4"]["synclip_attributes"][0]
    assert sampled["labels"][0]["probability"] != want["labels"][0]["probability"]
    assert sampled["labels"][0]["share"] < want["labels"][0]["share"] and sampled["labels"][0]["threshold"] == 0.99


def test_heads_are_files_of_their_own_folder_and_checkpoint(server):
    heads = server.base / "models" / "synclip" / "heads"
    heads.mkdir(parents=True, exist_ok=True)
    save_head(heads / "other.safetensors", replace(load_head(), model="beef"))
    options = server.json("/object_info/SyncLipClassifyAttributes")["SyncLipClassifyAttributes"]["input"]["required"]
    listed = options["head"][1].get("options") or options["head"][0]
    assert listed == ["bundled", "heads/other.safetensors"]
    models = server.json("/object_info/SyncLipLoadModel")["SyncLipLoadModel"]["input"]["required"]["checkpoint"]
    assert not any("other" in name for name in models[1].get("options") or models[0]), "a head is no checkpoint"
    words = server.fail(workflow("classify", n4__head="heads/other.safetensors"))
    assert "trained on tokens of checkpoint beef" in words
    wrong = server.json("/prompt", {"prompt": workflow("classify", n4__head="heads/none.safetensors")})
    assert "is not in the list" in json.dumps(wrong["node_errors"]["4"]), "Track Faces runs, this node does not"
    graph = workflow("classify")
    graph["4"]["inputs"]["ambient_tokens"] = ["3", 1]
    assert "the input ambient_tokens got identity tokens" in server.fail(graph)
