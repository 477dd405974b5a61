"""Handlers of pooling, of sums and means over axes, and of resizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from relprop._compose import add_moved, numbered
from relprop._torch.build import (
    Builder,
    FloatArray,
    Value,
    handles,
    sample_axis,
    sample_shape,
)
from relprop._torch.graph import Call
from relprop._torch.linear import pair, per_axis, spatial_rank


def _window(call: Call, rank: int) -> dict[str, Any]:
    kernel = per_axis(call["kernel_size"], rank, 1)
    stride = per_axis(call["stride"], rank, 1) if call["stride"] else kernel
    padding = per_axis(call["padding"], rank, 0)
    return {
        "kernel": kernel,
        "stride": stride,
        "pad_begin": padding,
        "pad_end": padding,
        "ceil_mode": bool(call["ceil_mode"]),
    }


@handles("max_pool1d", "max_pool2d")
def _max_pool(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    rank = spatial_rank(builder, call, layer)
    dilation = per_axis(call["dilation"], rank, 1)
    return builder.model.add_max_pool(call.name, layer, dilation=dilation, **_window(call, rank))


@handles("avg_pool1d", "avg_pool2d")
def _average_pool(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    rank = spatial_rank(builder, call, layer)
    window = _window(call, rank)
    divisor = call.arguments.get("divisor_override")
    if divisor is not None and divisor != math.prod(window["kernel"]):
        raise call.unsupported(f"divisor_override {divisor}; supported: none")
    include = bool(call["count_include_pad"]) or divisor is not None
    return builder.model.add_average_pool(call.name, layer, count_include_pad=include, **window)


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive_average_pool(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    spatial_rank(builder, call, layer)
    output = pair(call["output_size"], 1)
    return builder.model.add_adaptive_average_pool(call.name, layer, output)


@handles("adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_max_pool(builder: Builder, call: Call) -> list[Value]:
    layer = builder.activation(call, "self")
    spatial_rank(builder, call, layer)
    if set(call["output_size"]) != {1}:
        raise call.unsupported(f"output_size {call['output_size']}; supported: 1")
    return [builder.model.add_global_max_pool(call.name, layer)]


@handles("mean", "sum", "amax")
def _reduce(builder: Builder, call: Call) -> Value:
    layer, model = builder.activation(call, "self"), builder.model
    shape = builder.shape(layer)
    given = call.arguments.get("dim")
    dims = [given] if isinstance(given, int) else list(given or [])
    axes = sorted(sample_axis(call, d, len(shape) + 1) for d in dims)
    if not axes:
        raise call.unsupported("it runs over all axes; supported: axes of a sample")
    kept, result = [a for a in range(len(shape)) if a not in axes], sample_shape(call)
    # The axes that stay in front, those that go as one behind them: global pooling of (C, L).
    order = numbered(shape).transpose([*kept, *axes])
    count = math.prod(shape[a] for a in axes)
    channels = math.prod(shape) // count
    spatial = axes == list(range(1, len(shape))) and len(shape) in (2, 3)
    if not spatial:
        index = order.reshape(channels, count)
        layer = add_moved(model, builder.part(call, "axes"), layer, index)
    pooled = (channels, *(1,) * (len(builder.shape(layer)) - 1))
    scaled, moved = call.op == "sum", pooled != result
    name = builder.part(call, "pool") if scaled or moved else call.name
    add = model.add_global_max_pool if call.op == "amax" else model.add_adaptive_average_pool
    layer = add(name, layer)
    if moved:
        name = builder.part(call, "reshape") if scaled else call.name
        layer = model.add_reshape(name, layer, result)
    if not scaled:
        return layer
    return model.add_scale_shift(call.name, layer, np.array([count], np.float32), None)


@handles(
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d",
    "upsample_nearest1d", "upsample_nearest2d",
)  # fmt: skip
def _resize(builder: Builder, call: Call) -> Value:
    """Every mode is a product of two matrices, one per axis, that do not depend on the values."""
    layer = builder.activation(call)
    rank = spatial_rank(builder, call, layer)
    matrices = [_resize_matrix(builder, call, layer, axis) for axis in range(rank)]
    if rank == 1:
        matrices.insert(0, np.ones((1, 1), np.float32))
    return builder.model.add_resample(call.name, layer, *matrices)


def _resize_matrix(builder: Builder, call: Call, layer: int, axis: int) -> FloatArray:
    """(out, in) of one axis: torch resizes the unit vectors, the other axis has size 1."""
    size = builder.shape(layer)[1 + axis]
    rank = len(builder.shape(layer)) - 1
    shape = [1] * rank
    shape[axis] = size
    arguments = dict(call.arguments)
    arguments["input"] = torch.eye(size, dtype=torch.float64).reshape(1, size, *shape)
    if arguments["output_size"] is not None:
        arguments["output_size"] = [1] * rank
        arguments["output_size"][axis] = call.shape[2 + axis]
    if arguments["scale_factors"] is not None:
        arguments["scale_factors"] = [
            factor if a == axis else 1.0 for a, factor in enumerate(arguments["scale_factors"])
        ]
    resized = call.node.target(**arguments)  # type: ignore[operator]
    return np.ascontiguousarray(resized.reshape(size, -1).T.float().numpy())
