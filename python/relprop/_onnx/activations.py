"""Handlers of elementwise functions, softmax, and operators that do nothing at inference."""

from __future__ import annotations

import numpy as np

from relprop._onnx.build import Builder, Value, floats, handles
from relprop._onnx.fold import cast_type, normalized_axis
from relprop._onnx.parse import Node

_FLOAT_MAX = float(np.finfo(np.float32).max)


_PLAIN = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hard_swish",
    "Softplus": "softplus",
    "Mish": "mish",
}


@handles(*_PLAIN)
def _plain_activation(builder: Builder, node: Node) -> Value:
    return builder.model.add_activation(node.name, builder.activation(node), _PLAIN[node.op])


@handles("HardSigmoid")
def _hard_sigmoid(builder: Builder, node: Node) -> Value:
    """clip(alpha x + beta, 0, 1)."""
    layer, model = builder.activation(node), builder.model
    alpha, beta = node.get_float("alpha", 0.2), node.get_float("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:  # as torch has it
        return model.add_activation(node.name, layer, "hard_sigmoid")
    scale, shift = np.array([alpha], np.float32), np.array([beta], np.float32)
    layer = model.add_scale_shift(builder.extra_name(node, "scaled"), layer, scale, shift)
    return model.add_activation(node.name, layer, "clip", 0.0, 1.0)


@handles("LeakyRelu")
def _leaky_relu(builder: Builder, node: Node) -> Value:
    slope = node.get_float("alpha", 0.01)
    return builder.model.add_activation(node.name, builder.activation(node), "leaky_relu", slope)


@handles("PRelu")
def _prelu(builder: Builder, node: Node) -> Value:
    slope = floats(builder.constant(node, 1)).reshape(-1)
    if slope.size == 0 or np.any(slope != slope[0]):
        raise node.unsupported("slopes that differ between channels; supported: one slope")
    return builder.model.add_activation(
        node.name, builder.activation(node), "leaky_relu", float(slope[0])
    )


@handles("Elu")
def _elu(builder: Builder, node: Node) -> Value:
    alpha = node.get_float("alpha", 1.0)
    return builder.model.add_activation(node.name, builder.activation(node), "elu", alpha)


@handles("Gelu")
def _gelu(builder: Builder, node: Node) -> Value:
    functions = {"none": "gelu", "tanh": "gelu_tanh"}
    kind = node.get_string("approximate", "none")
    if kind not in functions:
        raise node.error(f"approximate = {kind}; accepted: none and tanh")
    return builder.model.add_activation(node.name, builder.activation(node), functions[kind])


@handles("Swish")
def _swish(builder: Builder, node: Node) -> Value:
    if node.get_float("alpha", 1.0) != 1:
        raise node.unsupported("alpha other than 1; supported: 1 (SiLU)")
    return builder.model.add_activation(node.name, builder.activation(node), "silu")


@handles("Clip")
def _clip(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    low, high = _bound(builder, node, 1, "min"), _bound(builder, node, 2, "max")
    if low == -np.inf and high == np.inf:
        return builder.model.add_identity(node.name, layer)
    if low == 0 and high == np.inf:
        return builder.model.add_activation(node.name, layer, "relu")
    return builder.model.add_activation(node.name, layer, "clip", low, high)


def _bound(builder: Builder, node: Node, index: int, name: str) -> float:
    """A bound of Clip; what limits nothing is an infinity."""
    default = -np.inf if name == "min" else np.inf
    if builder.graph.opset < 11:
        value = node.get_float(name, default)
    elif node.input(index):
        array = floats(builder.constant(node, index))
        if array.size != 1:
            raise node.error(f"{name} has shape {array.shape}; accepted: one value")
        value = float(array.reshape(-1)[0])
    else:
        return default
    return default if abs(value) >= _FLOAT_MAX and value * default > 0 else value


@handles("Softmax")
def _softmax(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    since_13 = builder.graph.opset >= 13
    axis = normalized_axis(node.get_int("axis", -1 if since_13 else 1), len(shape) + 1, node)
    if axis == 0:
        raise node.unsupported("it runs over the batch axis; supported: the axes of a sample")
    if not since_13:
        # Until opset 12 the axes from `axis` on were normalised together.
        together = [a for a in range(axis, len(shape) + 1) if shape[a - 1] != 1]
        if len(together) > 1:
            raise node.unsupported(
                f"it runs over several axes of a sample {shape} together; supported: one"
            )
        axis = together[0] if together else axis
    return builder.model.add_softmax(node.name, layer, axis - 1)


@handles("LogSoftmax")
def _log_softmax(builder: Builder, node: Node) -> Value:
    raise node.unsupported(
        f"explain its input instead: output='{node.input(0)}' (the log-probability's gradient "
        "starts from there too)"
    )


@handles("Dropout", "Identity")
def _identity(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    training = node.op == "Dropout" and node.input(2) and builder.constant(node, 2).any()
    if training:
        raise node.unsupported("training mode; supported: inference")
    return layer if builder.is_softmax(layer) else builder.model.add_identity(node.name, layer)


@handles("Cast")
def _cast(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    kind = cast_type(node)
    if kind.kind != "f" and kind.name != "bfloat16":
        raise node.unsupported(f"cast to {kind.name}; supported: between float types")
    return layer
