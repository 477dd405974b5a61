"""Handlers of the operators that move values without changing them."""

from __future__ import annotations

from typing import Any

import torch

from relprop._compose import add_broadcast, add_moved, numbered
from relprop._torch.build import Builder, Value, handles, sample_axis, sample_shape
from relprop._torch.graph import BATCH, Call, nodes_of


@handles(
    "flatten", "reshape", "view", "_unsafe_view", "unflatten", "squeeze", "unsqueeze", "view_as",
    "reshape_as",
)  # fmt: skip
def _reshape(builder: Builder, call: Call) -> Value:
    layer, shape = builder.activation(call, "self"), sample_shape(call)
    if shape == builder.shape(layer) and builder.is_softmax(layer):
        return layer
    return builder.model.add_reshape(call.name, layer, shape)


@handles(
    "channel_shuffle", "flip", "index_select", "movedim", "moveaxis", "native_channel_shuffle",
    "permute", "pixel_shuffle", "pixel_unshuffle", "repeat", "roll", "swapaxes", "transpose",
)  # fmt: skip
def _moved(builder: Builder, call: Call) -> Value:
    """Torch itself moves the numbers of the values."""
    layer = builder.activation(call, "self")
    return add_moved(builder.model, call.name, layer, _index(builder, call, builder.shape(layer)))


def _index(builder: Builder, call: Call, shape: tuple[int, ...]) -> Any:
    """Which value of a sample each value of the result is.

    Two samples show that none reads the other. Not every operator takes integers; float64 holds
    them exactly.
    """
    values = torch.from_numpy(numbered(shape))
    pair = torch.stack([values, values + values.numel()]).double()

    def known(node: torch.fx.Node) -> Any:
        return pair if node is call["self"] else builder.values[node]

    result = call.node.target(  # type: ignore[operator]
        *torch.fx.map_arg(call.node.args, known), **torch.fx.map_arg(call.node.kwargs, known)
    ).long()
    if result.ndim < 2 or len(result) != 2 or (result[0] + values.numel() != result[1]).any():
        raise call.unsupported("it mixes the samples of a batch; supported: the axes of a sample")
    if result[0].min() < 0 or result[0].max() >= values.numel():
        raise call.unsupported("it mixes the samples of a batch; supported: the axes of a sample")
    return result[0].numpy()


@handles("expand", "expand_as")
def _expand(builder: Builder, call: Call) -> Value:
    layer, shape = builder.activation(call, "self"), sample_shape(call)
    if len(call.shape) != len(builder.shape(layer)) + 1:
        raise call.unsupported("it adds axes before the batch; supported: axes of size 1 repeated")
    return add_broadcast(builder.model, layer, shape, lambda _: call.name)


@handles("cat", "stack")
def _cat(builder: Builder, call: Call) -> Value:
    layers = []
    for node in nodes_of(call["tensors"]):
        value = builder.values[node]
        if not isinstance(value, int):
            raise call.unsupported(
                "one of the tensors is a constant; supported: tensors that depend on the module's "
                "input"
            )
        layers.append(value)
    axis = sample_axis(call, call["dim"], len(call.shape))
    if call.op == "stack":
        shape = list(builder.shape(layers[0]))
        shape.insert(axis, 1)
        layers = [
            builder.model.add_reshape(builder.part(call, "unsqueeze"), layer, shape)
            for layer in layers
        ]
    return builder.model.add_concat(call.name, layers, axis)


@handles("pad", "constant_pad_nd")
def _pad(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    rank, pads = len(builder.shape(layer)), list(call["pad"])
    if call.arguments.get("mode", "constant") != "constant":
        return _moved(builder, call)
    if any(pads[2 * rank :]):
        raise call.unsupported("it pads the batch axis; supported: the axes of a sample")
    begin, end = [0] * rank, [0] * rank
    for i in range(min(len(pads) // 2, rank)):  # the last axis comes first
        begin[rank - 1 - i], end[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    return builder.model.add_pad(call.name, layer, begin, end, float(call["value"] or 0))


@handles("slice")
def _slice(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    shape, step = builder.shape(layer), call["step"]
    start, stop = call["start"] or 0, BATCH if call["end"] is None else call["end"]
    if call["dim"] % (len(shape) + 1) == 0 and start == 0 and stop >= BATCH and step == 1:
        return layer
    axis = sample_axis(call, call["dim"], len(shape) + 1)
    first, last, _ = slice(call["start"], call["end"]).indices(shape[axis])
    if step == 1:
        return _crop(builder, call.name, layer, axis, first, last)
    index = numbered(shape).take(range(first, last, step), axis)
    return add_moved(builder.model, call.name, layer, index)


@handles("narrow")
def _narrow(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    axis = sample_axis(call, call["dim"], len(builder.shape(layer)) + 1)
    start = call["start"] % builder.shape(layer)[axis]
    return _crop(builder, call.name, layer, axis, start, start + call["length"])


@handles("select")
def _select(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    shape = builder.shape(layer)
    axis = sample_axis(call, call["dim"], len(shape) + 1)
    sample_shape(call)
    index = numbered(shape).take(call["index"], axis)
    return add_moved(builder.model, call.name, layer, index)


@handles("chunk", "split", "split_with_sizes", "tensor_split", "unbind")
def _split(builder: Builder, call: Call) -> list[Value]:
    """The parts' sizes are read off the traced shapes."""
    layer = builder.activation(call, "self")
    rank = len(builder.shape(layer)) + 1
    axis = sample_axis(call, call["dim"], rank)
    parts: list[Value] = []
    at = 0
    for i, value in enumerate(call.node.meta["val"]):
        name = builder.part(call, str(i))
        width = value.shape[axis + 1] if value.ndim == rank else 1
        part = _crop(builder, name, layer, axis, at, at + width)
        if value.ndim != rank:
            squeezed = tuple(int(s) for s in value.shape[1:])
            part = builder.model.add_reshape(builder.part(call, f"{i}/squeeze"), part, squeezed)
        parts.append(part)
        at += width
    return parts


@handles("getitem")
def _getitem(builder: Builder, call: Call) -> Value:
    parts, index = builder.known(call, "argument 0"), call["argument 1"]
    if not isinstance(parts, list) or not isinstance(index, int) or index >= len(parts):
        raise call.unsupported("supported: parts of chunk, split and unbind")
    value: Value = parts[index]
    return value


def _crop(builder: Builder, name: str, layer: int, axis: int, first: int, last: int) -> int:
    """[first, last) of an axis of the sample: padding by negative amounts."""
    shape = builder.shape(layer)
    begin, end = [0] * len(shape), [0] * len(shape)
    begin[axis], end[axis] = -first, last - shape[axis]
    return builder.model.add_pad(name, layer, begin, end)


@handles("glu")
def _glu(builder: Builder, call: Call) -> Value:
    layer = builder.activation(call, "self")
    shape = builder.shape(layer)
    axis = sample_axis(call, call["dim"], len(shape) + 1)
    half, size = shape[axis] // 2, shape[axis]
    signal = _crop(builder, builder.part(call, "signal"), layer, axis, 0, half)
    gate = _crop(builder, builder.part(call, "gate"), layer, axis, half, size)
    gate = builder.model.add_activation(builder.part(call, "sigmoid"), gate, "sigmoid")
    return builder.model.add_product(call.name, signal, gate)
