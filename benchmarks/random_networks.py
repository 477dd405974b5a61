"""Networks with random weights, written as ONNX files: VGG-16, ResNet-50 and a perceptron.

Weights are He et al.'s: normal, with variance 2 over the number of inputs of a unit. Batch norms
get the statistics of a calibration input, so that values neither die nor explode with depth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

from benchmarks.paired import Array

VGG16 = (
    64,
    64,
    "pool",
    128,
    128,
    "pool",
    *[256] * 3,
    "pool",
    *[512] * 3,
    "pool",
    *[512] * 3,
    "pool",
)
# Width of the inner convolutions, blocks, stride of the first one.
RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


class Builder:
    """An ONNX graph that grows node by node; every value is also computed for a calibration input.

    Methods take the names of values and return the name of theirs.
    """

    def __init__(self, calibration: Array, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = calibration.shape[1:]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.values: dict[str, torch.Tensor] = {"x": torch.from_numpy(calibration)}

    def add(self, kind: str, inputs: list[str], value: torch.Tensor, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        self.values[name] = value
        return name

    def weight(self, name: str, value: Array) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def he(self, *shape: int) -> Array:
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return self.rng.standard_normal(shape, np.float32) * scale

    def conv(self, x: str, outputs: int, kernel: int, stride: int = 1) -> str:
        w, pad = self.he(outputs, self.values[x].shape[1], kernel, kernel), kernel // 2
        value = functional.conv2d(self.values[x], torch.from_numpy(w), None, stride, pad)
        inputs = [x, self.weight(f"conv{len(self.nodes)}.weight", w)]
        return self.add(
            "Conv",
            inputs,
            value,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
        )

    def batch_norm(self, x: str, scale: float) -> str:
        value = self.values[x]
        mean, variance = value.mean((0, 2, 3)), value.var((0, 2, 3), unbiased=False)
        prefix = f"norm{len(self.nodes)}"
        statistics = {
            "scale": torch.full_like(mean, scale),
            "shift": torch.zeros_like(mean),
            "mean": mean,
            "variance": variance,
        }
        names = [self.weight(f"{prefix}.{key}", v.numpy()) for key, v in statistics.items()]
        value = functional.batch_norm(value, mean, variance, statistics["scale"])
        return self.add("BatchNormalization", [x, *names], value, epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.add("Relu", [x], self.values[x].clamp(min=0))

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        value = functional.max_pool2d(self.values[x], kernel, stride, pad)
        return self.add(
            "MaxPool", [x], value, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def sum(self, x: str, y: str) -> str:
        return self.add("Add", [x, y], self.values[x] + self.values[y])

    def average(self, x: str) -> str:
        return self.add("GlobalAveragePool", [x], self.values[x].mean((2, 3), keepdim=True))

    def flatten(self, x: str) -> str:
        return self.add("Flatten", [x], self.values[x].flatten(1))

    def dense(self, x: str, outputs: int) -> str:
        w = self.he(outputs, self.values[x].shape[1])
        inputs = [x, self.weight(f"dense{len(self.nodes)}.weight", w)]
        return self.add("Gemm", inputs, self.values[x] @ torch.from_numpy(w).T, transB=1)

    def save(self, path: Path, output: str) -> None:
        float32 = onnx.TensorProto.FLOAT
        sizes = ["N", *self.values[output].shape[1:]]
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("x", float32, ["N", *self.shape])],
            [helper.make_tensor_value_info(output, float32, sizes)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(path))


def vgg16(path: Path, calibration: Array) -> None:
    """Simonyan and Zisserman 2015, configuration D, with the classifier: 138 million weights."""
    net, x = Builder(calibration[:1]), "x"
    for layer in VGG16:
        x = net.max_pool(x, 2, 2) if isinstance(layer, str) else net.relu(net.conv(x, layer, 3))
    x = net.flatten(x)
    for _ in range(2):
        x = net.relu(net.dense(x, 4096))
    net.save(path, net.dense(x, 1000))


def resnet50(path: Path, calibration: Array) -> None:
    """He et al. 2016, with the stride in the 3x3 convolution, as in torchvision.

    The last batch norm of a branch scales by 1/4, about what training leaves; with 1 the network
    amplifies rounding a hundredfold.
    """
    net = Builder(calibration)

    def conv(x: str, outputs: int, kernel: int, stride: int = 1, scale: float = 1) -> str:
        return net.batch_norm(net.conv(x, outputs, kernel, stride), scale)

    x = net.max_pool(net.relu(conv("x", 64, 7, 2)), 3, 2, 1)
    for width, blocks, first_stride in RESNET50:
        for block in range(blocks):
            stride = 1 if block else first_stride
            inner = net.relu(conv(net.relu(conv(x, width, 1)), width, 3, stride))
            short = x if block else conv(x, 4 * width, 1, stride)
            x = net.relu(net.sum(conv(inner, 4 * width, 1, scale=0.25), short))
    net.save(path, net.dense(net.flatten(net.average(x)), 1000))


def perceptron(path: Path, calibration: Array) -> None:
    """784-1296-1296-1296-10 on images of 28 x 28."""
    net = Builder(calibration)
    x = net.flatten("x")
    for _ in range(3):
        x = net.relu(net.dense(x, 1296))
    net.save(path, net.dense(x, 10))
