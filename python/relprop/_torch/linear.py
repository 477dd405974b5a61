"""Handlers of operators with weights: convolutions, matrix products, normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from relprop._torch.build import Builder, FloatArray, Value, handles
from relprop._torch.graph import Call

Pair = tuple[int, int]


def pair(values: Any, filler: int) -> Pair:
    """(y, x) of an argument for two axes, or for one axis, whose y is the filler."""
    if isinstance(values, int):
        values = [values]
    return (int(values[0]), int(values[1])) if len(values) == 2 else (filler, int(values[0]))


def spatial_rank(builder: Builder, call: Call, layer: int) -> int:
    """The number of axes behind the channels, 1 or 2."""
    shape = builder.shape(layer)
    if len(shape) not in (2, 3):
        raise call.unsupported(
            f"its input has {len(shape) - 1} spatial axes (sample {shape}); supported: 1 and 2"
        )
    return len(shape) - 1


def per_axis(values: Any, rank: int, filler: int) -> Pair:
    """As pair, where one value may stand for all axes."""
    given = [values] if isinstance(values, int) else list(values)
    return pair(given * rank if len(given) == 1 else given, filler)


def weight_and_bias(builder: Builder, call: Call) -> tuple[FloatArray, FloatArray | None]:
    """The constant weight and bias of a layer."""
    weight = builder.constant(call, "weight")
    if weight is None:
        raise call.unsupported("it has no weight; supported: a constant weight")
    return weight, builder.constant(call, "bias")


@handles("conv1d", "conv2d")
def _conv(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    rank = spatial_rank(builder, call, layer)
    weight, bias = weight_and_bias(builder, call)
    dilation = per_axis(call["dilation"], rank, 1)
    kernel = pair(weight.shape[2:], 1)
    begin, end = _padding(call, rank, kernel, dilation)
    return builder.model.add_conv(
        call.name,
        layer,
        _as_2d(weight),
        bias,
        stride=per_axis(call["stride"], rank, 1),
        dilation=dilation,
        pad_begin=begin,
        pad_end=end,
        groups=call["groups"],
    )


def _padding(call: Call, rank: int, kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    padding = call["padding"]
    if not isinstance(padding, str):
        both = per_axis(padding, rank, 0)
        return both, both
    if padding == "valid":
        return (0, 0), (0, 0)
    total = [dilation[a] * (kernel[a] - 1) for a in range(2)]
    begin = (total[0] // 2, total[1] // 2)
    return begin, (total[0] - begin[0], total[1] - begin[1])


def _as_2d(weight: FloatArray) -> FloatArray:
    return weight if weight.ndim == 4 else np.expand_dims(weight, 2)


@handles("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    rank = spatial_rank(builder, call, layer)
    weight, bias = weight_and_bias(builder, call)
    padding = per_axis(call["padding"], rank, 0)
    return builder.model.add_conv_transpose(
        call.name,
        layer,
        _as_2d(weight),
        bias,
        stride=per_axis(call["stride"], rank, 1),
        dilation=per_axis(call["dilation"], rank, 1),
        pad_begin=padding,
        pad_end=padding,
        output_padding=per_axis(call["output_padding"], rank, 0),
        groups=call["groups"],
    )


@handles("linear")
def _linear(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    weight, bias = weight_and_bias(builder, call)
    return builder.model.add_dense(call.name, layer, np.atleast_2d(weight), bias)


@handles("addmm")
def _addmm(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "mat1")
    weight, bias = builder.constant(call, "mat2"), builder.constant(call, "self")
    assert weight is not None
    assert bias is not None
    if bias.ndim > 1 and bias.shape[0] != 1:
        raise call.unsupported(f"a bias of shape {bias.shape}; supported: one for all samples")
    alpha, beta = np.float32(call["alpha"]), np.float32(call["beta"])
    spread = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), weight.shape[1:]))
    return builder.model.add_dense(
        call.name,
        layer,
        np.ascontiguousarray(weight.T) * alpha,
        spread * beta,
    )


@handles("mm", "matmul")
def _matmul(builder: Builder, call: Call) -> Value:
    first, second = ("self", "mat2") if call.op == "mm" else ("self", "other")
    layer = builder.activation(call, first)
    if not isinstance(builder.known(call, second), int):
        weight = builder.constant(call, second)
        if weight is not None and weight.ndim == 2:
            return builder.model.add_dense(call.name, layer, np.ascontiguousarray(weight.T))
    raise call.unsupported(
        "the second factor depends on the module's input or has not two axes; supported: a "
        "constant (in, out)"
    )


@handles("batch_norm")
def _batch_norm(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    mean, variance = builder.constant(call, "running_mean"), builder.constant(call, "running_var")
    if call["training"] or mean is None or variance is None:
        raise call.unsupported(
            "it uses the statistics of the batch, so that samples depend on each other; "
            "supported: evaluation mode, module.eval(), with running statistics"
        )
    weight, bias = builder.constant(call, "weight"), builder.constant(call, "bias")
    spread = np.sqrt(variance.astype(np.float64) + call["eps"])
    if not np.all(spread > 0):
        raise call.error("variance + eps is not positive everywhere")
    scale = (1.0 if weight is None else weight.astype(np.float64)) / spread
    shift = (0.0 if bias is None else bias.astype(np.float64)) - mean * scale
    return builder.model.add_batch_norm(
        call.name, layer, scale.astype(np.float32), shift.astype(np.float32)
    )


@handles("layer_norm")
def _layer_norm(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    size = math.prod(call["normalized_shape"])
    weight, bias = builder.constant(call, "weight"), builder.constant(call, "bias")
    return builder.model.add_layer_norm(call.name, layer, size, weight, bias, call["eps"])


@handles("group_norm", "instance_norm")
def _group_norm(builder: Builder, call: Call) -> Value:
    """A layer norm of every group, then a scale and shift per channel."""
    layer = builder.activation(call)
    if call.op == "instance_norm" and not call["use_input_stats"]:
        raise call.unsupported("running statistics; supported: those of each sample")
    shape = builder.shape(layer)
    groups = call["num_groups"] if call.op == "group_norm" else shape[0]
    grouped = (groups, math.prod(shape) // groups)
    model = builder.model
    layer = model.add_reshape(builder.part(call, "groups"), layer, grouped)
    layer = model.add_layer_norm(builder.part(call, "norm"), layer, grouped[1], eps=call["eps"])
    weight, bias = builder.constant(call, "weight"), builder.constant(call, "bias")
    affine = weight is not None or bias is not None
    name = builder.part(call, "channels") if affine else call.name
    layer = model.add_reshape(name, layer, shape)
    if not affine:
        return layer
    scale = np.ones(shape[0], np.float32) if weight is None else weight
    shift = np.zeros(shape[0], np.float32) if bias is None else bias
    return model.add_batch_norm(call.name, layer, scale, shift)
