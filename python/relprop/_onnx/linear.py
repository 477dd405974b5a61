"""Handlers of matrix products, normalisation, and sums and products with constants."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np

from relprop._compose import add_broadcast, add_product
from relprop._onnx.build import Builder, FloatArray, Value, floats, handles
from relprop._onnx.fold import normalized_axis
from relprop._onnx.parse import Array, Node

_MINUS_ONE = np.array([-1], dtype=np.float32)


@handles("Gemm")
def _gemm(builder: Builder, node: Node) -> Value:
    layer, weight = builder.activation(node), builder.constant(node, 1)
    shape = builder.shape(layer)
    if node.get_int("transA", 0):
        raise node.unsupported("transA = 1 mixes the samples of a batch; supported: 0")
    if weight.ndim != 2 or len(shape) != 1:
        raise node.error(
            f"input {shape} (a sample) and weight {weight.shape}; accepted: one axis and two"
        )
    matrix = floats(weight if node.get_int("transB", 0) else weight.T)
    alpha, beta = np.float32(node.get_float("alpha", 1)), np.float32(node.get_float("beta", 1))
    bias = None
    if node.input(2):
        bias = _gemm_bias(node, builder.constant(node, 2), matrix.shape[0])
        bias = bias if beta == 1 else bias * beta
    return builder.model.add_dense(node.name, layer, matrix if alpha == 1 else matrix * alpha, bias)


def _gemm_bias(node: Node, bias: Array, outputs: int) -> Array:
    if bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1):
        raise node.unsupported(
            f"bias of shape {bias.shape} differs between samples; supported: a scalar, "
            f"({outputs},) or (1, {outputs})"
        )
    if bias.size not in (1, outputs):
        raise node.error(f"bias of shape {bias.shape} for {outputs} outputs")
    return np.ascontiguousarray(np.broadcast_to(floats(bias).reshape(-1), (outputs,)))


@handles("MatMul")
def _matmul(builder: Builder, node: Node) -> Value:
    return builder.dense(node)


@handles("BatchNormalization")
def _batch_norm(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    if node.get_int("training_mode", 0):
        raise node.unsupported("training_mode = 1; supported: 0")
    if not node.get_int("spatial", 1):
        raise node.unsupported("spatial = 0; supported: 1")
    parts = [floats(builder.constant(node, i)).astype(np.float64) for i in range(1, 5)]
    channels = builder.shape(layer)[0]
    if any(p.shape != (channels,) for p in parts):
        shapes = ", ".join(str(p.shape) for p in parts)
        raise node.error(f"constants of shapes {shapes}; accepted: ({channels},) each")
    gamma, beta, mean, variance = parts
    variance = variance + node.get_float("epsilon", 1e-5)
    if not np.all(variance > 0):
        raise node.error("variance + epsilon is not positive everywhere")
    scale = gamma / np.sqrt(variance)
    return builder.model.add_batch_norm(
        node.name, layer, floats(scale), floats(beta - mean * scale)
    )


@handles("LayerNormalization")
def _layer_norm(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    axis = normalized_axis(node.get_int("axis", -1), len(shape) + 1, node)
    if axis == 0:
        raise node.unsupported("it runs over the batch axis; supported: the axes of a sample")
    over = shape[axis - 1 :]
    size = int(np.prod(over))
    given = [builder.constant(node, i) if node.input(i) else None for i in (1, 2)]
    weight, bias = (None if g is None else floats(np.broadcast_to(g, over)) for g in given)
    eps = node.get_float("epsilon", 1e-5)
    return builder.model.add_layer_norm(
        node.name,
        layer,
        size,
        None if weight is None else weight.reshape(-1),
        None if bias is None else bias.reshape(-1),
        eps,
    )


@handles("InstanceNormalization")
def _instance_norm(builder: Builder, node: Node) -> Value:
    """A layer norm of every channel, then a scale and shift per channel."""
    layer, model = builder.activation(node), builder.model
    shape = builder.shape(layer)
    scale, shift = (floats(builder.constant(node, i)) for i in (1, 2))
    grouped = (shape[0], int(np.prod(shape[1:])))
    layer = model.add_reshape(builder.extra_name(node, "groups"), layer, grouped)
    name, eps = builder.extra_name(node, "norm"), node.get_float("epsilon", 1e-5)
    layer = model.add_layer_norm(name, layer, grouped[1], eps=eps)
    layer = model.add_reshape(builder.extra_name(node, "channels"), layer, shape)
    return model.add_batch_norm(node.name, layer, scale, shift)


@handles("Add", "Sub", "Mul", "Div")
def _binary(builder: Builder, node: Node) -> Value:
    if len(node.inputs) != 2:
        raise node.error(f"{len(node.inputs)} inputs; accepted: 2")
    a, b = builder.known(node, 0), builder.known(node, 1)
    if isinstance(a, int) and isinstance(b, int):
        return _of_activations(builder, node, a, b)
    layer, other = (a, 1) if isinstance(a, int) else (b, 0)
    assert isinstance(layer, int)
    constant = _aligned(builder, node, layer, builder.constant(node, other))
    scale: FloatArray | None = None
    shift: FloatArray | None = None
    if node.op == "Add":
        shift = constant
    elif node.op == "Sub":
        scale, shift = (_MINUS_ONE, constant) if other == 0 else (None, -constant)
    elif node.op == "Mul":
        scale = constant
    elif other == 1:
        with np.errstate(divide="ignore", over="ignore"):
            scale = floats(1 / constant.astype(np.float64))
    else:
        raise node.unsupported("a constant divided by a tensor; supported: the other way round")
    return builder.model.add_scale_shift(node.name, layer, scale, shift)


def _of_activations(builder: Builder, node: Node, a: int, b: int) -> Value:
    if node.op == "Div":
        raise node.unsupported(
            "both operands depend on the model's input; supported: a constant divisor"
        )
    shape = _common_shape(builder, node, [a, b])
    new_name = partial(builder.extra_name, node)
    if node.op == "Mul":
        return add_product(builder.model, node.name, a, b, new_name)
    a, b = (add_broadcast(builder.model, layer, shape, new_name) for layer in (a, b))
    if node.op == "Sub":
        b = builder.model.add_scale_shift(builder.extra_name(node, "negative"), b, _MINUS_ONE, None)
    return builder.model.add_add(node.name, [a, b])


def _common_shape(builder: Builder, node: Node, layers: list[int]) -> tuple[int, ...]:
    """The shape that all broadcast to, sample by sample."""
    shapes = [builder.shape(layer) for layer in layers]
    if len({len(shape) for shape in shapes}) == 1:
        with suppress(ValueError):
            return np.broadcast_shapes(*shapes)
    raise node.unsupported(
        f"inputs of shapes {', '.join(map(str, shapes))} (samples); supported: shapes of one rank "
        "that broadcast, or a constant as the second"
    )


@handles("Sum")
def _sum(builder: Builder, node: Node) -> Value:
    layers = [builder.activation(node, i) for i in range(len(node.inputs))]
    shape = _common_shape(builder, node, layers)
    if len(layers) == 1:
        return builder.model.add_identity(node.name, layers[0])
    new_name = partial(builder.extra_name, node)
    layers = [add_broadcast(builder.model, layer, shape, new_name) for layer in layers]
    return builder.model.add_add(node.name, layers)


@handles("Neg")
def _negative(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    return builder.model.add_scale_shift(node.name, layer, _MINUS_ONE, None)


def _aligned(builder: Builder, node: Node, layer: int, constant: Array) -> FloatArray:
    """The constant as one value, one per channel or one per value of a sample."""
    shape = builder.shape(layer)
    values = floats(constant)
    if builder.graph.opset < 7 and "axis" in node.attributes:
        axis = normalized_axis(node.get_int("axis", 0), len(shape) + 1, node)
        behind = max(len(shape) + 1 - axis - values.ndim, 0)
        values = values.reshape(values.shape + (1,) * behind)
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    if values.ndim > len(shape):
        raise node.unsupported(
            f"constant of shape {constant.shape} differs between samples; supported: one for all, "
            f"for a sample of shape {shape}"
        )
    values = values.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    if any(v not in (1, s) for v, s in zip(values.shape, shape, strict=True)):
        raise node.unsupported(
            f"constant of shape {constant.shape} for a sample of shape {shape}; supported: shapes "
            "that broadcast to the sample's"
        )
    if values.size == 1 or values.size == values.shape[0]:
        return np.ascontiguousarray(values.reshape(-1))
    return np.ascontiguousarray(np.broadcast_to(values, shape).reshape(-1))
