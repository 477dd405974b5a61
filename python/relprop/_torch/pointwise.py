"""Handlers of elementwise functions, softmax, and operators that do nothing at inference."""

from __future__ import annotations

import math

import numpy as np

from relprop._torch.build import Builder, Value, handles, sample_axis
from relprop._torch.graph import Call


def _activation(
    builder: Builder, call: Call, function: str, a: float = 0.0, b: float = 0.0
) -> Value:
    layer = builder.activation(call, "input" if "input" in call.arguments else "self")
    return builder.model.add_activation(call.name, layer, function, a, b)


_PLAIN = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "mish": "mish",
    "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid",
}


@handles(*_PLAIN)
def _plain(builder: Builder, call: Call) -> Value:
    return _activation(builder, call, _PLAIN[call.op])


@handles("softplus")
def _softplus(builder: Builder, call: Call) -> Value:
    """log(1 + exp(beta x)) / beta; beyond its threshold torch gives x, which float32 gives too."""
    beta = float(call["beta"])
    if beta == 1:
        return _activation(builder, call, "softplus")
    layer, model = builder.activation(call, "self"), builder.model
    if beta <= 0 or call["threshold"] < 17:
        raise call.unsupported(
            f"beta {beta}, threshold {call['threshold']}; supported: beta > 0, threshold >= 17"
        )
    scale, back = np.array([beta], np.float32), np.array([1 / beta], np.float32)
    layer = model.add_scale_shift(builder.part(call, "scaled"), layer, scale, None)
    layer = model.add_activation(builder.part(call, "softplus"), layer, "softplus")
    return model.add_scale_shift(call.name, layer, back, None)


@handles("leaky_relu")
def _leaky_relu(builder: Builder, call: Call) -> Value:
    return _activation(builder, call, "leaky_relu", float(call["negative_slope"]))


@handles("prelu")
def _prelu(builder: Builder, call: Call) -> Value:
    slope = builder.constant(call, "weight")
    if slope is None or (slope != slope.reshape(-1)[0]).any():
        raise call.unsupported("slopes that differ between channels; supported: one slope")
    return _activation(builder, call, "leaky_relu", float(slope.reshape(-1)[0]))


# alpha and scale of SELU (Klambauer et al. 2017), as torch has them.
_SELU = (1.6732632423543772, 1.0507009873554805)


@handles("elu", "selu")
def _elu(builder: Builder, call: Call) -> Value:
    if call.arguments.get("input_scale", 1) != 1:
        raise call.unsupported("an input_scale other than 1; supported: 1")
    alpha, scale = _SELU if call.op == "selu" else (float(call["alpha"]), float(call["scale"]))
    if scale == 1:
        return _activation(builder, call, "elu", alpha)
    layer = builder.activation(call, "self")
    layer = builder.model.add_activation(builder.part(call, "elu"), layer, "elu", alpha)
    factor = np.array([scale], np.float32)
    return builder.model.add_scale_shift(call.name, layer, factor, None)


@handles("celu")
def _celu(builder: Builder, call: Call) -> Value:
    """alpha elu(x / alpha)."""
    layer, model, alpha = builder.activation(call, "self"), builder.model, float(call["alpha"])
    if alpha == 1:
        return model.add_activation(call.name, layer, "elu", 1.0)
    scale, back = np.array([1 / alpha], np.float32), np.array([alpha], np.float32)
    layer = model.add_scale_shift(builder.part(call, "scaled"), layer, scale, None)
    layer = model.add_activation(builder.part(call, "elu"), layer, "elu", 1.0)
    return model.add_scale_shift(call.name, layer, back, None)


@handles("gelu")
def _gelu(builder: Builder, call: Call) -> Value:
    return _activation(builder, call, "gelu" if call["approximate"] == "none" else "gelu_tanh")


@handles("hardtanh", "clamp", "clamp_min", "clamp_max", "relu6")
def _clip(builder: Builder, call: Call) -> Value:
    names = ("min_val", "max_val") if call.op == "hardtanh" else ("min", "max")
    low, high = (0, 6) if call.op == "relu6" else (call.arguments.get(n) for n in names)
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    if not all(isinstance(bound, int | float) for bound in bounds):
        raise call.unsupported("bounds that are tensors; supported: numbers")
    if bounds == (0, math.inf):
        return _activation(builder, call, "relu")
    return _activation(builder, call, "clip", *map(float, bounds))


@handles("softmax")
def _softmax(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    axis = sample_axis(call, call["dim"], len(builder.shape(layer)) + 1)
    return builder.model.add_softmax(call.name, layer, axis)


@handles("log_softmax")
def _log_softmax(builder: Builder, call: Call) -> Value:
    before = builder.model.nodes[builder.activation(call, "self")][0]
    raise call.unsupported(
        f"explain its input instead: output='{before}' (the log-probability's gradient starts "
        "from there too)"
    )


@handles("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _dropout(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call)
    if call["train"] and call["p"] > 0:
        raise call.unsupported("training mode; supported: evaluation mode, module.eval()")
    return layer if builder.is_softmax(layer) else builder.model.add_identity(call.name, layer)


@handles("alias", "clone", "contiguous", "detach", "lift_fresh")
def _same(builder: Builder, call: Call) -> Value:
    return builder.activation(call, "self")


@handles("to", "_to_copy")
def _to(builder: Builder, call: Call) -> Value:
    dtype = call.node.meta["val"].dtype
    if not dtype.is_floating_point:
        raise call.unsupported(f"cast to {dtype}; supported: between float types")
    return builder.activation(call, "self")
