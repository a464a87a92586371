"""Runs small convolutional networks converted from TFLite (tools/convert_mediapipe.py) in PyTorch.

The graph is data (JSON in the file's metadata), so one executor of nine operations serves every network, on any device
and in any batch size. Activations are NCHW in channels-last memory, so that TFLite's NHWC reshapes are views.
"""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ...errors import SyncLipError
from ...files.safetensors_file import read_safetensors


class TFLiteGraph(torch.nn.Module):
    """forward: [B, 3, S, S] float -> one [B, ...] float tensor per output, in TFLite's (channels-last) order.

    `input_size` is S. Inference only: buffers, no parameters. Made for small CPUs: 1 x 1 convolutions run as matrix
    products, sums in place (together 1.7 times as fast as the plain operations on one thread).
    """

    def __init__(self, graph: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.input_name: str = graph["input"]
        self.input_size: int = graph["input_size"]
        self.outputs: dict[str, list[int]] = graph["outputs"]
        self.nodes: list[dict[str, Any]] = graph["nodes"]
        values = {name: value.float() for name, value in weights.items()}
        for node in self.nodes:
            if node["op"] == "conv":
                _prepare_convolution(node, values)
        for name, value in values.items():
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            self.register_buffer(name, value)
        last = {name: i for i, node in enumerate(self.nodes) for name in node["inputs"]}
        # per node, the activations that nobody needs afterwards: freed at once, or overwritten by a sum
        self._spent = [
            [name for name in dict.fromkeys(node["inputs"]) if last[name] == i and name not in self.outputs]
            for i, node in enumerate(self.nodes)
        ]

    @torch.inference_mode()
    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        values = {self.input_name: images.contiguous(memory_format=torch.channels_last)}
        for node, spent in zip(self.nodes, self._spent, strict=True):
            result = self._run(node, [values[name] for name in node["inputs"]], spent)
            for name in spent:
                del values[name]
            values[node["output"]] = result
        results = []
        for name, shape in self.outputs.items():
            value = values[name]
            if value.ndim == 4:
                value = value.permute(0, 2, 3, 1)
            results.append(value.reshape(len(images), *shape))
        return results

    def _run(self, node: dict[str, Any], inputs: list[torch.Tensor], spent: list[str]) -> torch.Tensor:
        op, x = node["op"], inputs[0]
        if op == "conv":
            x = self._convolve(node, x)
        elif op == "prelu":
            x = F.prelu(x, self.get_buffer(node["weight"]))
        elif op == "relu":
            x = F.relu(x)
        elif op == "add":
            x = _add(node, inputs, spent)
        elif op == "max_pool":
            x = _max_pool(node, x)
        elif op == "reshape":
            x = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
            x = x.reshape(len(x), *node["shape"])
        elif op == "concat":
            axis = node["axis"]
            x = torch.cat(inputs, {0: 0, 1: 2, 2: 3, 3: 1}[axis % 4] if x.ndim == 4 else axis)
        elif op == "resize":
            x = _resize(x, node)
        elif op == "depth_to_space":
            x = _depth_to_space(x, node["block"])
        else:
            raise SyncLipError(f"converted network: operation {op!r} is unknown; convert it again with this version")
        if node.get("activation") == "relu":
            x = F.relu_(x)
        elif node.get("activation") == "relu6":
            x = F.relu6(x, inplace=True)
        return x

    def _convolve(self, node: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.get_buffer(node["weight"]), self.get_buffer(node["bias"])
        if weight.ndim == 2:
            return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        left, _, top, _ = node["pad"]
        return F.conv2d(x, weight, bias, node["stride"], (top, left), 1, node["groups"])


def _prepare_convolution(node: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Makes 1 x 1 kernels matrices, and asymmetric padding symmetric by widening the kernel with zeros."""
    weight = weights[node["weight"]]
    left, right, top, bottom = node["pad"]
    if weight.shape[2:] == (1, 1) and node["stride"] == [1, 1] and node["groups"] == 1 and not any(node["pad"]):
        weights[node["weight"]] = weight[:, :, 0, 0].contiguous()
    elif left != right or top != bottom:  # TFLite pads more on the right and below
        weights[node["weight"]] = F.pad(weight, (right - left, 0, bottom - top, 0))
        node["pad"] = [right, right, bottom, bottom]


def _add(node: dict[str, Any], inputs: list[torch.Tensor], spent: list[str]) -> torch.Tensor:
    """The sum, written over an input that is not needed any more; a narrower input adds to the leading channels."""
    x, other = inputs
    first, second = node["inputs"]
    if x.shape[1] == other.shape[1]:
        if first in spent:
            return x.add_(other)
        return other.add_(x) if second in spent else x + other
    if first not in spent:
        x = x.clone(memory_format=torch.preserve_format)
    x[:, : other.shape[1]] += other
    return x


def _max_pool(node: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    left, right, top, bottom = node["pad"]
    if any(node["pad"]):
        x = F.pad(x, (left, right, top, bottom), value=float("-inf"))
    if node["kernel"] == [2, 2] and node["stride"] == [2, 2] and x.shape[1] <= 16 and not x.shape[2] % 2:
        rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])  # faster than max_pool2d for few channels
        return torch.maximum(rows[..., ::2], rows[..., 1::2])
    return F.max_pool2d(x, node["kernel"], node["stride"])


def _resize(x: torch.Tensor, node: dict[str, Any]) -> torch.Tensor:
    """TFLite's RESIZE_BILINEAR; its legacy mode (no half pixels, no aligned corners) samples at i * in / out."""
    if node["align_corners"] or node["half_pixel"]:
        return F.interpolate(x, node["size"], mode="bilinear", align_corners=node["align_corners"])
    for axis, size in ((2, node["size"][0]), (3, node["size"][1])):
        old = x.shape[axis]
        place = torch.arange(size, device=x.device) * (old / size)
        low = place.long()
        high = (low + 1).clamp(max=old - 1)
        share = (place - low).to(x.dtype).reshape([-1 if a == axis else 1 for a in range(4)])
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x


def _depth_to_space(x: torch.Tensor, block: int) -> torch.Tensor:
    """[B, block * block * C, H, W] -> [B, C, block * H, block * W]; TFLite puts the block index before the channel."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, block, block, channels // block**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // block**2, height * block, width * block)


def load_graph(path: str | Path) -> TFLiteGraph:
    """The converted network of a .safetensors file; raises SyncLipError if it is missing or not one."""
    try:
        weights, header = read_safetensors(path)
        graph = json.loads(header["graph"])
    except (SyncLipError, KeyError, ValueError) as error:
        raise SyncLipError(
            f"{path}: expected a network converted by tools/convert_mediapipe.py, got {type(error).__name__}: {error}; "
            "reinstall the package or convert the file again"
        ) from error
    return TFLiteGraph(graph, weights).eval()
