"""torch.nn.Sequential as ONNX: one node per layer, under the layer's own name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPERATORS = {
    nn.Conv2d: "Conv",
    nn.ConvTranspose2d: "ConvTranspose",
    nn.Linear: "Gemm",
    nn.ReLU: "Relu",
    nn.LeakyReLU: "LeakyRelu",
    nn.Sigmoid: "Sigmoid",
    nn.MaxPool2d: "MaxPool",
    nn.AvgPool2d: "AveragePool",
    nn.Flatten: "Flatten",
    nn.Unflatten: "Reshape",
}


def to_onnx(
    network: nn.Sequential,
    name: str,
    source: tuple[str, Sequence[int]],
    result: tuple[str, Sequence[int]],
) -> onnx.ModelProto:
    """The inference graph; dropout is left out. Source and result: names and sample shapes."""
    layers = [item for item in network.named_children() if not isinstance(item[1], nn.Dropout)]
    nodes, weights = [], []
    value = source[0]
    for index, (layer_name, layer) in enumerate(layers):
        inputs = [value]
        for kind, parameter in layer.named_parameters():
            weights.append(
                numpy_helper.from_array(parameter.detach().numpy(), f"{layer_name}.{kind}")
            )
            inputs.append(f"{layer_name}.{kind}")
        if isinstance(layer, nn.Unflatten):
            shape = np.array([-1, *layer.unflattened_size], np.int64)
            weights.append(numpy_helper.from_array(shape, f"{layer_name}.shape"))
            inputs.append(f"{layer_name}.shape")
        value = result[0] if index == len(layers) - 1 else layer_name
        nodes.append(
            helper.make_node(
                OPERATORS[type(layer)], inputs, [value], layer_name, **attributes(layer)
            )
        )
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, ["N", *source[1]])],
        [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, ["N", *result[1]])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="relprop", ir_version=8
    )
    onnx.checker.check_model(model)
    return model


def attributes(layer: nn.Module) -> dict[str, object]:
    """The attributes of a layer's node; windows are square."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return {
            "kernel_shape": list(layer.kernel_size),
            "strides": list(layer.stride),
            "pads": [int(p) for p in layer.padding] * 2,
        }
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        return {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
    if isinstance(layer, nn.Linear):
        return {"transB": 1}
    if isinstance(layer, nn.LeakyReLU):
        return {"alpha": layer.negative_slope}
    return {}
