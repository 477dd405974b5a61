"""Handlers of the operators that move values without changing them."""

from __future__ import annotations

from relprop._torch.build import Builder, Value, handles, sample_axis, sample_shape
from relprop._torch.graph import Call


def reshaped(builder: Builder, call: Call, layer: int) -> Value:
    """The layer's values in row-major order in the shape of the call's result."""
    shape = sample_shape(call)
    if shape == builder.shape(layer) and builder.is_softmax(layer):
        return layer
    return builder.model.add_reshape(call.name, layer, shape)


@handles(
    "flatten", "reshape", "view", "_unsafe_view", "unflatten", "squeeze", "unsqueeze", "view_as",
    "reshape_as",
)  # fmt: skip
def _reshape(builder: Builder, call: Call) -> Value:
    return reshaped(builder, call, builder.activation(call, "self"))


@handles("permute", "transpose", "swapaxes", "movedim", "moveaxis")
def _permute(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    full = (-1, *builder.shape(layer))
    order = _order(call, len(full))
    moved = [a for a in order if full[a] != 1]
    if order[0] != 0 or moved != sorted(moved):
        raise call.unsupported(
            f"order {order} of a sample {full[1:]} changes the order of values; supported: "
            "permutations that keep it"
        )
    return reshaped(builder, call, layer)


def _order(call: Call, rank: int) -> list[int]:
    if call.op == "permute":
        return [d % rank for d in call["dims"]]
    if call.op not in ("transpose", "swapaxes"):
        raise call.unsupported("supported: permute and transpose")
    order = list(range(rank))
    names = ("dim0", "dim1") if call.op == "transpose" else ("axis0", "axis1")
    a, b = (call[name] % rank for name in names)
    order[a], order[b] = order[b], order[a]
    return order


@handles("cat")
def _cat(builder: Builder, call: Call) -> Value:
    layers = []
    for node in call["tensors"]:
        value = builder.values[node]
        if not isinstance(value, int):
            raise call.unsupported(
                "one of the tensors is a constant; supported: tensors that depend on the module's "
                "input"
            )
        layers.append(value)
    axis = sample_axis(call, call["dim"], len(builder.shape(layers[0])) + 1)
    return builder.model.add_concat(call.name, layers, axis)


@handles("pad", "constant_pad_nd")
def _pad(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    mode = call.arguments.get("mode", "constant")
    if mode != "constant":
        raise call.unsupported(f"mode {mode}; supported: constant")
    rank, pads = len(builder.shape(layer)), list(call["pad"])
    if len(pads) > 2 * rank:
        raise call.unsupported("it pads the batch axis; supported: the axes of a sample")
    begin, end = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):  # the last axis comes first
        begin[rank - 1 - i], end[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    return builder.model.add_pad(call.name, layer, begin, end, float(call["value"] or 0))


@handles("getitem")
def _getitem(builder: Builder, call: Call) -> Value:
    parts, index = builder.known(call, "argument 0"), call["argument 1"]
    if not isinstance(parts, list) or not isinstance(index, int) or index >= len(parts):
        raise call.unsupported("supported: parts of chunk, split and unbind")
    value: Value = parts[index]
    return value
