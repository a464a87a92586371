"""What other nodes hand to the pack, in a real ComfyUI: core's audio encoder, boxes and masks of other packs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from comfy_common import running
from safetensors.torch import save_file

from synclip_core.checkpoint import save_checkpoint
from synclip_core.demo import CLIP
from synclip_core.demo.two_heads import write_two_heads
from synclip_core.models.config import AudioConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.token_file import read_tokens

# as packs of detectors give them: one list of boxes a frame, in pixels
BOXES = """
import torch
class Boxes:
    CATEGORY, FUNCTION, RETURN_TYPES = "other", "run", ("BBOX",)
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"x": ("INT", {"default": 0}), "kind": (["lists", "tensor", "dict"],)}}
    def run(self, x, kind):
        box = [x, 60, x + 200, 300]
        return ({"lists": [[box], [box]], "tensor": torch.tensor([box]), "dict": {"bboxes": [box]}}[kind],)
NODE_CLASS_MAPPINGS = {"OtherPackBoxes": Boxes}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy")
    (base / "custom_nodes" / "other_pack").mkdir(parents=True)
    (base / "custom_nodes" / "other_pack" / "__init__.py").write_text(BOXES)
    (base / "models" / "audio_encoders").mkdir(parents=True)
    with running(base) as found:
        found.put(CLIP, "speech.mp4")
        write_two_heads(found.base / "input" / "two_heads.mp4")
        yield found


def track(node, **sockets):
    """Tracks a face of the clip of two heads and scores it by its tokens."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "two_heads.mp4"}},
        "2": node,
        "3": {
            "class_type": "SyncLipTrackFaces",
            "inputs": {
                "video": ["1", 0],
                "fps": 25.0,
                "face": "auto",
                "missing": "hold",
                "crop_size": 112,
                "margin": 0.0,
            }
            | sockets,
        },
        "4": {"class_type": "SyncLipEncodeVocalMotionTokens", "inputs": {"faces": ["3", 0]}},
        "5": {"class_type": "SyncLipEncodeAudioTokens", "inputs": {"video": ["1", 0]}},
        "6": {
            "class_type": "SyncLipSyncScoreTokens",
            "inputs": {"audio_tokens": ["5", 0], "vocal_tokens": ["4", 0], "max_lag": 15},
        },
    }


@pytest.mark.parametrize("kind", ["lists", "tensor", "dict"])
def test_the_box_of_another_pack_says_whom_to_follow(server, kind):
    for x, verdict in ((60, "cannot_tell"), (380, "in_sync")):  # the right one talks
        node = {"class_type": "OtherPackBoxes", "inputs": {"x": x, "kind": kind}}
        report = server.run(track(node, bbox=["2", 0]))["6"]["synclip_report"][0]
        assert report["verdict"] == verdict, x


@pytest.mark.parametrize("x, verdict", [(60, "cannot_tell"), (380, "in_sync")])
def test_a_mask_of_core_says_whom_to_follow(server, x, verdict):
    graph = track({"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 640, "height": 320}}, mask=["8", 0])
    graph["7"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 200, "height": 240}}
    graph["8"] = {
        "class_type": "MaskComposite",
        "inputs": {"destination": ["2", 0], "source": ["7", 0], "x": x, "y": 60, "operation": "add"},
    }
    assert server.run(graph)["6"]["synclip_report"][0]["verdict"] == verdict


def test_the_speech_encoder_of_core_gives_the_tokens_that_the_sound_gives(server):
    """wav2vec2-base in the published layout (random weights), run by core and by the pack."""
    transformers = pytest.importorskip("transformers")
    if "AudioEncoderEncode" not in server.json("/object_info"):
        pytest.skip("this ComfyUI has no audio encoder nodes (they need torchaudio)")
    torch.manual_seed(0)
    model = SyncLipMAE(replace(tiny(), audio=AudioConfig(front_end="wav2vec2", width=768, depth=13))).eval()
    encoder = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).state_dict()
    model.front_end.network.load_state_dict(encoder)
    save_file(encoder, server.base / "models" / "audio_encoders" / "random.safetensors")
    save_checkpoint(server.base / "models" / "synclip" / "listens.safetensors", model, {})
    graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "speech.mp4"}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "AudioEncoderLoader", "inputs": {"audio_encoder_name": "random.safetensors"}},
        "4": {"class_type": "AudioEncoderEncode", "inputs": {"audio_encoder": ["3", 0], "audio": ["2", 1]}},
        "5": {
            "class_type": "SyncLipLoadModel",
            "inputs": {"checkpoint": "listens.safetensors", "dtype": "float32", "device": "default"},
        },
    }
    for key, source in (("6", {"audio": ["2", 1]}), ("7", {"audio_encoder_output": ["4", 0]})):
        graph[key] = {"class_type": "SyncLipEncodeAudioTokens", "inputs": {"model": ["5", 0], **source}}
        save = {"audio_tokens": [key, 0], "filename_prefix": f"tokens/{key}"}
        graph[f"save{key}"] = {"class_type": "SyncLipSaveTokens", "inputs": save}
    outputs = server.run(graph)
    ours, core = (
        read_tokens(server.base / "output" / outputs[f"save{key}"]["text"][0].split(" [")[0]).arrays["audio"]
        for key in "67"
    )
    assert abs(len(ours) - len(core)) <= 1
    length = min(len(ours), len(core))
    same = (ours[:length] * core[:length]).sum(1)
    other = (ours[: length - 50] * core[50:length]).sum(1)
    assert same[25:-25].min() > 0.99 and np.median(other) < 0.9, (same.min(), np.median(other))
