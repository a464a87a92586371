"""What other nodes hand to the pack, in a real ComfyUI: core's audio encoder, boxes and masks of other packs."""

import wave
from dataclasses import replace

import numpy as np
import pytest
import torch
from comfy_common import running
from safetensors.torch import save_file

from synclip_core.checkpoint import Checkpoint, save_checkpoint
from synclip_core.demo import CLIP
from synclip_core.demo.two_heads import write_two_heads
from synclip_core.media.audio import read_audio
from synclip_core.models.config import AudioConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.token_file import read_tokens

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


def test_the_layers_of_core_s_speech_encoder_become_tokens(server):
    """wav2vec2-base in the published layout (random weights): core runs it, the pack reads it as transformers' own."""
    pytest.importorskip("transformers")
    if "AudioEncoderEncode" not in server.json("/object_info"):
        pytest.skip("this ComfyUI has no audio encoder nodes (they need torchaudio)")
    torch.manual_seed(0)
    model = SyncLipMAE(replace(tiny(), audio=AudioConfig(front_end="wav2vec2", width=768, depth=13))).eval()
    network = model.front_end.network
    save_file(network.state_dict(), server.base / "models" / "audio_encoders" / "random.safetensors")
    save_checkpoint(server.base / "models" / "synclip" / "listens.safetensors", model, {})
    sound = (np.clip(read_audio(CLIP)[: 16000 * 4], -1, 1) * 32767).astype(np.int16)
    with wave.open(str(server.base / "input" / "voice.wav"), "wb") as file:
        file.setparams((1, 2, 16000, len(sound), "NONE", ""))
        file.writeframes(sound.tobytes())
    graph = {
        "1": {"class_type": "LoadAudio", "inputs": {"audio": "voice.wav"}},
        "2": {"class_type": "AudioEncoderLoader", "inputs": {"audio_encoder_name": "random.safetensors"}},
        "3": {"class_type": "AudioEncoderEncode", "inputs": {"audio_encoder": ["2", 0], "audio": ["1", 0]}},
        "4": {
            "class_type": "SyncLipLoadModel",
            "inputs": {"checkpoint": "listens.safetensors", "dtype": "float32", "device": "default"},
        },
        "5": {
            "class_type": "SyncLipEncodeAudioTokens",
            "inputs": {"model": ["4", 0], "audio_encoder_output": ["3", 0]},
        },
        "6": {
            "class_type": "SyncLipSaveTokens",
            "inputs": {"audio_tokens": ["5", 0], "filename_prefix": "tokens/core"},
        },
    }
    saved = server.run(graph)["6"]["text"][0].split(" [")[0]
    with torch.inference_mode():
        layers = network(torch.from_numpy(sound / 32768).float()[None], output_hidden_states=True).hidden_states
    want = SyncPipeline(Checkpoint(model, {}, "random")).layer_tokens(layers)
    found = read_tokens(server.base / "output" / saved).arrays["audio"]
    assert found.shape == want.shape == (100, 128)
    assert (found * want).sum(1).min() > 0.999
