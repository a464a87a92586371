"""The converted networks compute what TFLite computes.

data/face_networks.npz holds TFLite's own outputs (ai-edge-litert 2.3) for two pictures of the rendered demo head; of
the detectors, every seventh anchor.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from synclip_core.errors import SyncLipError
from synclip_core.faces.detect.blazeface import WEIGHTS, bundled_graph
from synclip_core.faces.detect.tflite_graph import TFLiteGraph, load_graph
from tools.convert_mediapipe import same_padding

GOLDEN = Path(__file__).parents[2] / "data" / "face_networks.npz"


@pytest.mark.parametrize(
    ("name", "size", "scale", "offset", "tolerance"),
    # in the networks' own units: pixels of the input, logits; the mesh's weights were rounded to fp16
    [("face_mesh", 192, 1, 0, 0.03), ("blazeface_short", 128, 2, -1, 1e-3), ("blazeface_full", 192, 2, -1, 1e-3)],
)
def test_same_as_tflite(name: str, size: int, scale: float, offset: float, tolerance: float) -> None:
    golden = np.load(GOLDEN)
    image = torch.from_numpy(golden[f"input_{size}"]).permute(2, 0, 1)[None].float() / 255
    network = bundled_graph(name)
    # a second picture in the batch must not matter
    outputs = network(torch.cat([image, image.flip(3)]) * scale + offset)
    for (tensor, _), value in zip(network.outputs.items(), outputs, strict=True):
        expected = golden[f"{name}.{tensor}"]
        got = value[0].numpy() if name == "face_mesh" else value[0, ::7].numpy()
        assert np.abs(got - expected).max() < tolerance
        assert (value[0] - value[1]).abs().max() > 10 * tolerance


@pytest.mark.parametrize(("size", "kernel", "stride"), [(192, 3, 2), (128, 5, 2), (7, 3, 1), (9, 2, 2), (6, 3, 3)])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1


def run(nodes: list[dict], weights: dict[str, torch.Tensor], image: torch.Tensor, shape: list[int]) -> torch.Tensor:
    graph = {"input": "in", "input_size": image.shape[-1], "outputs": {"out": shape}, "nodes": nodes}
    return TFLiteGraph(graph, weights)(image)[0].permute(0, 3, 1, 2)


def test_asymmetric_padding_and_strides() -> None:
    torch.manual_seed(0)
    image, weight, bias = torch.rand(2, 3, 8, 8), torch.rand(5, 3, 3, 3), torch.rand(5)
    node = {"op": "conv", "inputs": ["in"], "output": "out", "weight": "w", "bias": "b", "stride": [2, 2]}
    node |= {"pad": [0, 1, 0, 1], "groups": 1, "activation": "relu"}
    got = run([node], {"w": weight, "b": bias}, image, [4, 4, 5])
    expected = F.relu(F.conv2d(F.pad(image, (0, 1, 0, 1)), weight, bias, 2))
    torch.testing.assert_close(got, expected)


def test_sum_with_fewer_channels_spares_values_needed_later() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 4, 6, 6) - 0.5
    weights = {"w": torch.rand(4), "k": torch.rand(6, 4, 1, 1), "b": torch.rand(6)}
    nodes = [
        {"op": "prelu", "inputs": ["in"], "output": "a", "weight": "w"},
        {"op": "conv", "inputs": ["a"], "output": "wide", "weight": "k", "bias": "b", "stride": [1, 1], "groups": 1},
        {"op": "add", "inputs": ["wide", "a"], "output": "sum"},
        {"op": "add", "inputs": ["sum", "wide"], "output": "out"},
    ]
    nodes[1]["pad"] = [0, 0, 0, 0]
    got = run(nodes, dict(weights), image, [6, 6, 6])
    a = F.prelu(image, weights["w"])
    wide = F.conv2d(a, weights["k"], weights["b"])
    torch.testing.assert_close(got, 2 * wide + F.pad(a, (0, 0, 0, 0, 0, 2)))


@pytest.mark.parametrize("channels", [8, 32])
def test_max_pool(channels: int) -> None:
    image = torch.rand(2, channels, 8, 8) - 0.5
    node = {
        "op": "max_pool",
        "inputs": ["in"],
        "output": "out",
        "kernel": [2, 2],
        "stride": [2, 2],
        "pad": [0, 0, 0, 0],
    }
    torch.testing.assert_close(run([node], {}, image, [4, 4, channels]), F.max_pool2d(image, 2))


def test_resize_modes() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    node = {"op": "resize", "inputs": ["in"], "output": "out", "size": [8, 8]}
    legacy = run([node | {"align_corners": False, "half_pixel": False}], {}, ramp, [8, 8, 1])
    torch.testing.assert_close(legacy[0, 0, 0], torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]))
    half = run([node | {"align_corners": False, "half_pixel": True}], {}, ramp, [8, 8, 1])
    torch.testing.assert_close(half[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


def test_depth_to_space_order() -> None:
    image = torch.arange(8.0).reshape(1, 8, 1, 1)  # block 2, two channels: TFLite's order is (row, column, channel)
    node = {"op": "depth_to_space", "inputs": ["in"], "output": "out", "block": 2}
    got = run([node], {}, image, [2, 2, 2])
    torch.testing.assert_close(got[0, 0], torch.tensor([[0.0, 2], [4, 6]]))


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.safetensors"
    save_file({"x": torch.zeros(1)}, plain)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((WEIGHTS / "face_mesh.safetensors").read_bytes()[:1000])
    for path in (plain, broken, tmp_path / "missing.safetensors"):
        with pytest.raises(SyncLipError, match=path.name):
            load_graph(path)
