"""Handlers of pooling and of means over space."""

from __future__ import annotations

import math
from typing import Any

from relprop._torch.build import Builder, Value, handles, sample_axis, sample_shape
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


@handles("mean", "amax")
def _reduce(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    shape = builder.shape(layer)
    rank = len(shape) + 1
    given = call["dim"] if call.arguments.get("dim") else []
    dims = [given] if isinstance(given, int) else list(given)
    axes = sorted(sample_axis(call, d, rank) for d in dims)
    spatial = list(range(1, len(shape)))
    if len(shape) not in (2, 3) or not axes or not set(axes) <= set(spatial):
        raise call.unsupported(
            f"axes {dims} of a sample {shape}; supported: axes behind the channels of (C, L) and "
            "(C, H, W)"
        )
    output = pair([1 if a in axes else shape[a] for a in spatial], 1)
    keep = sample_shape(call) == tuple(1 if a in axes else s for a, s in enumerate(shape))
    name = call.name if keep else builder.part(call, "pool")
    if call.op == "mean":
        layer = builder.model.add_adaptive_average_pool(name, layer, output)
    elif axes == spatial:
        layer = builder.model.add_global_max_pool(name, layer)
    else:
        raise call.unsupported(f"axes {dims} of a sample {shape}; supported: all spatial axes")
    return layer if keep else builder.model.add_reshape(call.name, layer, sample_shape(call))
