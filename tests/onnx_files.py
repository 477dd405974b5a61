"""Small ONNX models for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Size = int | str | None

node = helper.make_node


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Array | onnx.TensorProto] | None = None,
    *,
    shape: Sequence[Size] = ("N", 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
) -> onnx.ModelProto:
    """Input x of this shape, weights as initializers, outputs of undeclared shape."""
    tensors = []
    for name, value in (weights or {}).items():
        if isinstance(value, np.ndarray):
            tensors.append(numpy_helper.from_array(value, name))
        else:
            value.name = name
            tensors.append(value)
    if inputs is None:
        inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
    graph = helper.make_graph(
        list(nodes),
        "test",
        list(inputs),
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(*shape: int) -> Array:
    """Distinct small numbers of both signs."""
    count = int(np.prod(shape))
    return (((np.arange(count) * 7) % 19 - 9) / 8).astype(np.float32).reshape(shape)


def small_network() -> onnx.ModelProto:
    """Convolution, ReLU, pooling, flatten and dense."""
    return model_of(
        [
            node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"], "relu"),
            node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["p"], ["f"], "flat"),
            node("Gemm", ["f", "v"], ["y"], "fc", transB=1),
        ],
        {"w": floats(4, 3, 3, 3), "b": floats(4), "v": floats(5, 64)},
    )
