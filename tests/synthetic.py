"""Small random networks as ONNX models, one for each way that layers are put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Builder:
    """Adds nodes one behind the other; every method returns the name of the node and its value."""

    def __init__(self, shape: Shape, seed: int = 0, bias: bool = True) -> None:
        self.shape, self.bias = shape, bias
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Array) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def linear(self, kind: str, at: str, name: str, shape: Shape, outputs: int, **more: Any) -> str:
        fan_in = np.prod(shape[1:])
        inputs = [at, self.constant(f"{name}.w", self.normal(shape) * np.sqrt(2 / fan_in))]
        if self.bias:
            inputs.append(self.constant(f"{name}.b", 0.1 * self.normal((outputs,))))
        return self.node(kind, inputs, name, **more)

    def normal(self, shape: Shape) -> Array:
        return self.rng.standard_normal(shape)

    def conv(
        self, at: str, name: str, inputs: int, outputs: int, kernel: int, *,
        stride: int = 1, pads: Shape | None = None, groups: int = 1,
    ) -> str:  # fmt: skip
        return self.linear(
            "Conv",
            at,
            name,
            (outputs, inputs // groups, kernel, kernel),
            outputs,
            strides=[stride] * 2,
            pads=pads or [kernel // 2] * 4,
            group=groups,
        )

    def dense(self, at: str, name: str, inputs: int, outputs: int) -> str:
        return self.linear("Gemm", at, name, (outputs, inputs), outputs, transB=1)

    def batch_norm(self, at: str, name: str, channels: int) -> str:
        values = {
            "scale": self.rng.uniform(0.5, 1.5, channels),
            "shift": 0.1 * self.normal((channels,)) if self.bias else np.zeros(channels),
            "mean": 0.1 * self.normal((channels,)) if self.bias else np.zeros(channels),
            "var": self.rng.uniform(0.5, 1.5, channels),
        }
        parameters = [self.constant(f"{name}.{k}", v) for k, v in values.items()]
        return self.node("BatchNormalization", [at, *parameters], name)

    def relu(self, at: str, name: str) -> str:
        return self.node("Relu", [at], name)

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "synthetic",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *self.shape])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        opset = [helper.make_opsetid("", 13)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def plain(bias: bool) -> onnx.ModelProto:
    """Convolutions, max pooling and dense layers; channels off the vector widths."""
    b = Builder((3, 12, 14), 1, bias)
    t = b.relu(b.conv("input", "conv1", 3, 17, 3), "relu1")
    t = b.node("MaxPool", [t], "pool1", kernel_shape=[2, 2], strides=[2, 2])
    t = b.relu(b.conv(t, "conv2", 17, 33, 3, pads=(0, 0, 0, 0)), "relu2")
    t = b.node("Flatten", [t], "flatten")
    t = b.relu(b.dense(t, "dense1", 33 * 4 * 5, 31), "relu3")
    return b.model([b.dense(t, "logits", 31, 10)])


def residual(bias: bool) -> onnx.ModelProto:
    """Batch norms and residual sums, one of them around a strided block with a projection."""
    b = Builder((3, 11, 10), 2, bias)
    t = b.relu(b.batch_norm(b.conv("input", "stem", 3, 16, 3), "stem_bn", 16), "stem_relu")
    u = b.relu(b.batch_norm(b.conv(t, "block1a", 16, 16, 3), "bn1a", 16), "relu1a")
    u = b.batch_norm(b.conv(u, "block1b", 16, 16, 3), "bn1b", 16)
    t = b.relu(b.node("Add", [u, t], "add1"), "relu1")
    u = b.relu(b.batch_norm(b.conv(t, "block2a", 16, 20, 3, stride=2), "bn2a", 20), "relu2a")
    u = b.batch_norm(b.conv(u, "block2b", 20, 20, 3), "bn2b", 20)
    v = b.batch_norm(b.conv(t, "shortcut", 16, 20, 1, stride=2), "bn2s", 20)
    t = b.relu(b.node("Add", [u, v], "add2"), "relu2")
    t = b.node("Flatten", [b.node("GlobalAveragePool", [t], "gap")], "flatten")
    return b.model([b.dense(t, "logits", 20, 7)])


def fire(bias: bool) -> onnx.ModelProto:
    """Parallel branches that are concatenated; ends in average pooling and softmax."""
    b = Builder((3, 13, 13), 3, bias)
    t = b.relu(b.conv("input", "conv1", 3, 24, 3, stride=2, pads=(0, 0, 0, 0)), "relu1")
    for i, (inputs, squeeze, expand) in enumerate([(24, 8, 16), (32, 9, 15)]):
        s = b.relu(b.conv(t, f"squeeze{i}", inputs, squeeze, 1), f"relu_s{i}")
        e1 = b.relu(b.conv(s, f"expand1_{i}", squeeze, expand, 1), f"relu_e1_{i}")
        e3 = b.relu(b.conv(s, f"expand3_{i}", squeeze, expand, 3), f"relu_e3_{i}")
        t = b.node("Concat", [e1, e3], f"concat{i}", axis=1)
    t = b.node("AveragePool", [t], "pool", kernel_shape=[2, 2], strides=[2, 2])
    t = b.conv(t, "head", 30, 6, 1)
    t = b.node("Flatten", [b.node("GlobalAveragePool", [t], "gap")], "logits")
    return b.model([b.node("Softmax", [t], "probabilities", axis=1)])


def depthwise(bias: bool) -> onnx.ModelProto:
    """Inverted residuals with ReLU6 and asymmetric padding, as in mobile networks."""
    b = Builder((3, 12, 12), 4, bias)
    low, high = b.constant("low", np.float32(0)), b.constant("high", np.float32(6))

    def norm_clip(at: str, name: str, channels: int) -> str:
        return b.node("Clip", [b.batch_norm(at, f"{name}_bn", channels), low, high], f"{name}_r6")

    t = norm_clip(b.conv("input", "stem", 3, 16, 3, stride=2, pads=(0, 0, 1, 1)), "stem", 16)
    u = norm_clip(b.conv(t, "expand", 16, 33, 1), "expand", 33)
    u = norm_clip(b.conv(u, "deep", 33, 33, 3, groups=33), "deep", 33)
    u = b.batch_norm(b.conv(u, "project", 33, 16, 1), "project_bn", 16)
    t = b.node("Add", [u, t], "add")
    t = norm_clip(
        b.conv(t, "deep2", 16, 16, 5, stride=2, pads=(1, 1, 2, 2), groups=16), "deep2", 16
    )
    t = norm_clip(b.conv(t, "head", 16, 40, 1), "head", 40)
    t = b.node("Flatten", [b.node("GlobalAveragePool", [t], "gap")], "flatten")
    return b.model([b.dense(t, "logits", 40, 9)])


def signed(bias: bool) -> onnx.ModelProto:
    """Activations with negative values, a transposed convolution, two outputs."""
    b = Builder((4, 7, 6), 5, bias)
    t = b.node("LeakyRelu", [b.conv("input", "conv1", 4, 12, 3)], "leaky", alpha=0.125)
    t = b.linear("ConvTranspose", t, "up", (12, 9, 2, 2), 9, strides=[2, 2])
    t = b.node("Elu", [t], "elu")
    u = b.conv(t, "conv2", 9, 10, 3, groups=1)
    gate = b.node("Sigmoid", [u], "gate")
    t = b.node("Mul", [u, gate], "silu")
    side = b.conv(t, "side", 10, 1, 1)
    t = b.node("Tanh", [b.conv(t, "conv3", 10, 11, 3, stride=2)], "tanh")
    t = b.node("Flatten", [t], "flatten")
    return b.model([b.dense(t, "scores", 11 * 7 * 6, 5), side])


def sums(bias: bool) -> onnx.ModelProto:
    """Sums of sums: of three, of one value twice, of ReLUs of sums, and around a late reader."""
    b = Builder((3, 7, 8), 6, bias)
    t = b.relu(b.conv("input", "stem", 3, 12, 3), "stem_relu")
    t = b.relu(b.node("Add", [b.conv(t, "a", 12, 12, 3), t], "add1"), "relu1")
    u = b.relu(b.conv(t, "b", 12, 18, 1), "relu_b")
    u = b.conv(u, "c", 18, 12, 3)
    t = b.node("Sum", [u, b.conv(t, "d", 12, 12, 1), t], "sum")
    t = b.relu(b.node("Add", [t, t], "twice"), "relu2")
    t = b.node("Add", [t, b.conv(t, "e", 12, 12, 1)], "add2")
    u = b.conv(b.relu(b.conv(t, "f", 12, 10, 1), "relu_f"), "g", 10, 12, 3)
    late = b.relu(b.conv(t, "late", 12, 12, 1), "relu_late")
    t = b.node("Add", [u, t], "add3")
    t = b.relu(b.node("Add", [t, late], "add4"), "relu3")
    u = b.relu(b.node("Add", [b.conv(t, "h", 12, 12, 1), t], "add5"), "relu4")
    v = b.relu(b.node("Add", [b.conv(t, "i", 12, 12, 1), t], "add6"), "relu5")
    t = b.node("Add", [u, v], "add7")
    scale = b.constant("scale", b.rng.uniform(0.5, 1.5, (12, 1, 1)))
    u = b.node("Mul", [b.node("Tanh", [b.conv(t, "j", 12, 12, 1)], "tanh"), scale], "scaled")
    t = b.node("Add", [u, t], "add8")
    t = b.node("Flatten", [b.node("GlobalAveragePool", [t], "gap")], "flatten")
    return b.model([b.dense(t, "logits", 12, 6)])


SYNTHETIC: dict[str, Callable[[bool], onnx.ModelProto]] = {
    "plain": plain,
    "residual": residual,
    "fire": fire,
    "depthwise": depthwise,
    "signed": signed,
    "sums": sums,
}


def sample_shape(model: onnx.ModelProto) -> Shape:
    return tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
