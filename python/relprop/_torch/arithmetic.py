"""Handlers of sums, differences, products and quotients."""

from __future__ import annotations

from functools import partial

import numpy as np

from relprop._compose import add_broadcast, add_product
from relprop._torch.build import Builder, FloatArray, Value, floats, handles, sample_shape
from relprop._torch.graph import BATCH, Call

_MINUS_ONE = np.array([-1], dtype=np.float32)


@handles("add", "sub", "mul", "div", "rsub")
def _binary(builder: Builder, call: Call) -> Value:
    a, b = builder.known(call, "self"), builder.known(call, "other")
    alpha = float(call.arguments.get("alpha", 1))
    if call.arguments.get("rounding_mode") is not None:
        raise call.unsupported("a rounded quotient; supported: the plain one")
    if isinstance(call["self"], type(call.node)) and isinstance(a, int) and _is_layer(call, b):
        return _of_layers(builder, call, a, b, alpha)
    swapped = not (isinstance(call["self"], type(call.node)) and isinstance(a, int))
    layer, other = (b, a) if swapped else (a, b)
    constant = _aligned(builder, call, layer, other)
    if call.op == "rsub":
        swapped = not swapped
    scale, shift = _affine(call, constant, alpha, swapped)
    return builder.model.add_scale_shift(call.name, layer, scale, shift)


def _is_layer(call: Call, value: object) -> bool:
    return isinstance(call["other"], type(call.node)) and isinstance(value, int)


def _affine(
    call: Call, constant: FloatArray, alpha: float, swapped: bool
) -> tuple[FloatArray | None, FloatArray | None]:
    """Scale and shift of x op constant, or of constant op x where swapped."""
    if call.op == "mul":
        return constant, None
    if call.op == "div":
        if swapped:
            raise call.unsupported("a constant divided by a tensor; supported: the other way round")
        with np.errstate(divide="ignore", over="ignore"):
            return (1 / constant.astype(np.float64)).astype(np.float32), None
    factor = np.array([alpha], np.float32)
    if call.op == "add":
        return (factor if swapped and alpha != 1 else None), (
            constant if swapped else constant * factor
        )
    if swapped:
        return _MINUS_ONE * factor, constant
    return None, -constant * factor


def _of_layers(builder: Builder, call: Call, a: int, b: int, alpha: float) -> Value:
    if call.op == "rsub":
        a, b = b, a
    if call.op == "div":
        raise call.unsupported(
            "both operands depend on the module's input; supported: a constant divisor"
        )
    shapes, result = (builder.shape(a), builder.shape(b)), sample_shape(call)
    if any(len(shape) != len(result) for shape in shapes):
        raise call.unsupported(
            f"operands of shapes {shapes[0]} and {shapes[1]} (samples); supported: one rank"
        )
    new_name = partial(builder.part, call)
    if call.op == "mul":
        return add_product(builder.model, call.name, a, b, new_name)
    a, b = (add_broadcast(builder.model, layer, result, new_name) for layer in (a, b))
    sign = -alpha if call.op in ("sub", "rsub") else alpha
    if sign != 1:
        scale = np.array([sign], np.float32)
        b = builder.model.add_scale_shift(builder.part(call, "scaled"), b, scale, None)
    return builder.model.add_add(call.name, [a, b])


@handles("neg")
def _negative(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    return builder.model.add_scale_shift(call.name, layer, _MINUS_ONE, None)


def _aligned(builder: Builder, call: Call, layer: int, constant: object) -> FloatArray:
    """The constant as one value, one per channel or one per value of a sample."""
    shape = builder.shape(layer)
    if isinstance(constant, int | float):
        return np.array([constant], np.float32)
    values = floats(constant)  # type: ignore[arg-type]
    if values.ndim == len(shape) + 1:
        if values.shape[0] not in (1, BATCH) or (values != values[:1]).any():
            raise call.unsupported(
                f"a constant of shape {values.shape} differs between samples; supported: one for "
                f"all, for a sample of shape {shape}"
            )
        values = values[0]
    values = values.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    if values.ndim > len(shape) or any(
        v not in (1, s) for v, s in zip(values.shape, shape, strict=True)
    ):
        raise call.unsupported(
            f"a constant of shape {values.shape} for a sample of shape {shape}; supported: shapes "
            "that broadcast to the sample's"
        )
    if values.size in (1, values.shape[0]):
        return np.ascontiguousarray(values.reshape(-1))
    return np.ascontiguousarray(np.broadcast_to(values, shape).reshape(-1))
