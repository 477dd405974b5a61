"""Handlers of convolutions and pooling: everything that slides a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relprop._onnx.build import Builder, Value, floats, handles
from relprop._onnx.fold import axes_of, normalized_axis
from relprop._onnx.parse import Array, Node

Pair = tuple[int, int]


@dataclass
class _Window:
    """Geometry in (y, x); one-dimensional layers have a y axis of size one."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pad_begin: Pair
    pad_end: Pair


def _pair(values: list[int], filler: int) -> Pair:
    return (values[0], values[1]) if len(values) == 2 else (filler, values[0])


def _spatial(builder: Builder, node: Node, layer: int) -> list[int]:
    shape = builder.shape(layer)
    if len(shape) not in (2, 3):
        raise node.unsupported(
            f"its input has {len(shape) - 1} spatial axes (sample {shape}); supported: 1 and 2"
        )
    return list(shape[1:])


def _per_axis(node: Node, name: str, count: int) -> list[int]:
    values = node.get_ints(name)
    if values is None:
        return [1] * count
    if len(values) != count or not all(1 <= v < 2**31 for v in values):
        raise node.error(f"{name} {values}; accepted: {count} numbers of 1 or more")
    return values


def _kernel(node: Node, count: int, weight: Array | None = None) -> list[int]:
    given = (
        None if "kernel_shape" not in node.attributes else _per_axis(node, "kernel_shape", count)
    )
    if weight is None:
        if given is None:
            raise node.error("attribute kernel_shape is missing")
        return given
    kernel = list(weight.shape[2:])
    if given is not None and given != kernel:
        raise node.error(f"kernel_shape {given}, but the weight has shape {weight.shape}")
    return kernel


def _pads(node: Node, count: int) -> list[int]:
    pads = node.get_ints("pads")
    if pads is None:
        return [0] * (2 * count)
    if len(pads) != 2 * count:
        raise node.error(f"pads {pads}; accepted: {2 * count} numbers")
    return pads


def _auto_pad(node: Node) -> str:
    mode = node.get_string("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad {mode}; accepted: NOTSET, VALID, SAME_UPPER and SAME_LOWER")
    return mode


def _split(total: int, upper: bool) -> Pair:
    small = total // 2
    return (small, total - small) if upper else (total - small, small)


def _window(node: Node, sizes: list[int], kernel: list[int]) -> _Window:
    count = len(sizes)
    stride, dilation = _per_axis(node, "strides", count), _per_axis(node, "dilations", count)
    mode = _auto_pad(node)
    begin, end = [0] * count, [0] * count
    if mode == "NOTSET":
        pads = _pads(node, count)
        begin, end = pads[:count], pads[count:]
    elif mode != "VALID":
        for a in range(count):
            extent = dilation[a] * (kernel[a] - 1) + 1
            out = -(-sizes[a] // stride[a])
            total = max((out - 1) * stride[a] + extent - sizes[a], 0)
            begin[a], end[a] = _split(total, mode == "SAME_UPPER")
    return _Window(
        _pair(kernel, 1), _pair(stride, 1), _pair(dilation, 1), _pair(begin, 0), _pair(end, 0)
    )


def _conv_weight(builder: Builder, node: Node, sizes: list[int]) -> tuple[Array, Array | None]:
    weight = builder.constant(node, 1)
    if weight.ndim != len(sizes) + 2:
        raise node.error(
            f"weight of shape {weight.shape} for an input of {len(sizes)} spatial axes; accepted: "
            f"{len(sizes) + 2} axes"
        )
    return weight, builder.constant(node, 2) if node.input(2) else None


def _as_2d(weight: Array) -> Array:
    return weight if weight.ndim == 4 else np.expand_dims(weight, 2)


@handles("Conv")
def _conv(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    sizes = _spatial(builder, node, layer)
    weight, bias = _conv_weight(builder, node, sizes)
    w = _window(node, sizes, _kernel(node, len(sizes), weight))
    return builder.model.add_conv(
        node.name,
        layer,
        floats(_as_2d(weight)),
        None if bias is None else floats(bias),
        stride=w.stride,
        dilation=w.dilation,
        pad_begin=w.pad_begin,
        pad_end=w.pad_end,
        groups=node.get_int("group", 1),
    )


@handles("ConvTranspose")
def _conv_transpose(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    sizes = _spatial(builder, node, layer)
    weight, bias = _conv_weight(builder, node, sizes)
    kernel = _kernel(node, len(sizes), weight)
    stride = _per_axis(node, "strides", len(sizes))
    dilation = _per_axis(node, "dilations", len(sizes))
    begin, end, output_padding = _transposed_pads(node, sizes, kernel, stride, dilation)
    return builder.model.add_conv_transpose(
        node.name,
        layer,
        floats(_as_2d(weight)),
        None if bias is None else floats(bias),
        stride=_pair(stride, 1),
        dilation=_pair(dilation, 1),
        pad_begin=_pair(begin, 0),
        pad_end=_pair(end, 0),
        output_padding=_pair(output_padding, 0),
        groups=node.get_int("group", 1),
    )


def _transposed_pads(
    node: Node, sizes: list[int], kernel: list[int], stride: list[int], dilation: list[int]
) -> tuple[list[int], list[int], list[int]]:
    count, mode = len(sizes), _auto_pad(node)
    extra = node.get_ints("output_padding") or [0] * count
    wanted = node.get_ints("output_shape")
    if wanted is not None:
        wanted = wanted[-count:]  # early files give all axes
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * step for size, step in zip(sizes, stride, strict=True)]
    if len(extra) != count or (wanted is not None and len(wanted) != count):
        raise node.error(f"output_padding {extra} or output_shape {wanted} for {count} axes")
    pads = _pads(node, count) if mode == "NOTSET" else [0] * (2 * count)
    begin, end = pads[:count], pads[count:]
    for a, size in enumerate(wanted or ()):
        full = stride[a] * (sizes[a] - 1) + dilation[a] * (kernel[a] - 1) + 1 + extra[a]
        total = full - size
        if total < 0:  # more was asked for than the windows cover
            extra[a] -= total
        begin[a], end[a] = _split(max(total, 0), mode == "SAME_UPPER")
    return begin, end, extra


@handles("MaxPool")
def _max_pool(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    sizes = _spatial(builder, node, layer)
    w = _window(node, sizes, _kernel(node, len(sizes)))
    return builder.model.add_max_pool(
        node.name,
        layer,
        kernel=w.kernel,
        stride=w.stride,
        dilation=w.dilation,
        pad_begin=w.pad_begin,
        pad_end=w.pad_end,
        ceil_mode=_ceil_mode(node),
    )


@handles("AveragePool")
def _average_pool(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    sizes = _spatial(builder, node, layer)
    w = _window(node, sizes, _kernel(node, len(sizes)))
    return builder.model.add_average_pool(
        node.name,
        layer,
        kernel=w.kernel,
        stride=w.stride,
        dilation=w.dilation,
        pad_begin=w.pad_begin,
        pad_end=w.pad_end,
        ceil_mode=_ceil_mode(node),
        count_include_pad=bool(node.get_int("count_include_pad", 0)),
    )


def _ceil_mode(node: Node) -> bool:
    # With auto_pad the output size is given by the padding mode alone.
    return bool(node.get_int("ceil_mode", 0)) and _auto_pad(node) == "NOTSET"


@handles("GlobalAveragePool")
def _global_average_pool(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    _spatial(builder, node, layer)
    return builder.model.add_adaptive_average_pool(node.name, layer)


@handles("GlobalMaxPool")
def _global_max_pool(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    _spatial(builder, node, layer)
    return builder.model.add_global_max_pool(node.name, layer)


@handles("ReduceMean", "ReduceMax")
def _reduce(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    rank = len(shape) + 1
    axes = axes_of(node, builder.constant_or_none(node), builder.graph.opset, 18)
    given = sorted({normalized_axis(a, rank, node) for a in axes or ()})
    if given != list(range(2, rank)) or rank not in (3, 4):
        raise node.unsupported(
            f"axes {axes} of a sample {shape}; supported: all spatial axes (global pooling)"
        )
    if node.op == "ReduceMean":
        layer = builder.model.add_adaptive_average_pool(node.name, layer)
    else:
        layer = builder.model.add_global_max_pool(node.name, layer)
    if node.get_int("keepdims", 1):
        return layer
    return builder.model.add_reshape(builder.extra_name(node, "squeeze"), layer, shape[:1])
