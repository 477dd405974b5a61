"""Handlers of the operators that compute: products, normalisation, activations, pooling, sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from relprop._onnx.build import Builder, FloatArray, Value, floats, handles
from relprop._onnx.fold import axes_of, cast_type, normalized_axis
from relprop._onnx.parse import Array, Node

Pair = tuple[int, int]
_FLOAT_MAX = float(np.finfo(np.float32).max)
_MINUS_ONE = np.array([-1], dtype=np.float32)


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


@handles("Relu", "Sigmoid", "Tanh")
def _plain_activation(builder: Builder, node: Node) -> Value:
    return builder.model.add_activation(node.name, builder.activation(node), node.op.lower())


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
    if node.op in ("Mul", "Div"):
        raise node.unsupported(
            f"both factors depend on the model's input; supported: {node.op} with a constant, and "
            "x * sigmoid(x) and the GELU forms"
        )
    _same_shape(builder, node, [a, b])
    if node.op == "Sub":
        b = builder.model.add_scale_shift(builder.extra_name(node, "negative"), b, _MINUS_ONE, None)
    return builder.model.add_add(node.name, [a, b])


def _same_shape(builder: Builder, node: Node, layers: list[int]) -> None:
    shapes = [builder.shape(layer) for layer in layers]
    if len(set(shapes)) > 1:
        raise node.unsupported(
            f"inputs of shapes {', '.join(map(str, shapes))} (samples); supported: one shape, or "
            "a constant as the second"
        )


@handles("Sum")
def _sum(builder: Builder, node: Node) -> Value:
    layers = [builder.activation(node, i) for i in range(len(node.inputs))]
    _same_shape(builder, node, layers)
    if len(layers) == 1:
        return builder.model.add_identity(node.name, layers[0])
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
