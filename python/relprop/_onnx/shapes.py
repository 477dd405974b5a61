"""Handlers of the operators that move values without changing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relprop._onnx.build import Builder, Value, floats, handles
from relprop._onnx.fold import (
    BATCH,
    Batch,
    axes_of,
    int_list,
    normalized_axis,
    part_of_shape,
    shape_array,
    slices,
)
from relprop._onnx.moves import IntArray, moved
from relprop._onnx.parse import Node


def _reshaped(builder: Builder, node: Node, layer: int, shape: tuple[int, ...]) -> int:
    if not shape:
        raise node.unsupported(
            "its result has no axis beside the batch; supported: one axis or more"
        )
    return builder.model.add_reshape(node.name, layer, shape)


@handles("Flatten")
def _flatten(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    rank = len(shape) + 1
    axis = node.get_int("axis", 1)
    axis = axis if axis == rank else normalized_axis(axis, rank, node)
    leading = math.prod(shape[: max(axis - 1, 0)])
    # Axis 0 puts the whole batch into one row, which is one sample where the batch is declared so.
    if (axis == 0 and builder.graph.batch != 1) or leading != 1:
        raise node.unsupported(
            f"axis {axis} mixes the samples of a batch (sample {shape}); supported: axis 1"
        )
    return _reshaped(builder, node, layer, (math.prod(shape),))


@handles("Reshape")
def _reshape(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    given = node.get_ints("shape") if builder.graph.opset < 5 else None
    wanted = builder.constant(node, 1).reshape(-1).tolist() if given is None else given
    if not all(isinstance(size, (int, Batch)) for size in wanted):
        raise node.error(f"shape {wanted}; accepted: integers")
    return _reshaped(builder, node, layer, _resolved(builder, node, builder.shape(layer), wanted))


def _resolved(
    builder: Builder, node: Node, shape: tuple[int, ...], wanted: Sequence[int | Batch]
) -> tuple[int, ...]:
    """The sample's new shape: copies (0) filled in, the open size (-1) computed."""
    keep_zero = bool(node.get_int("allowzero", 0))
    source: tuple[int | Batch, ...] = (BATCH, *shape)
    sizes: list[int | Batch] = []
    for i, size in enumerate(wanted):
        if size == 0 and not keep_zero:
            if i >= len(source):
                raise node.error(f"shape {wanted}: axis {i} copies one that is not there")
            size = source[i]
        sizes.append(size)
    if not all(isinstance(s, Batch) or s == -1 or s > 0 for s in sizes):
        raise node.error(f"shape {wanted}; accepted: sizes of 1 or more, 0 and one -1")
    mixes = node.unsupported(
        f"shape {wanted} mixes the samples of a batch (sample {shape}); supported: shapes that "
        "keep the first axis"
    )
    if not sizes:
        raise mixes
    first, rest = sizes[0], [s for s in sizes[1:] if not isinstance(s, Batch)]
    if len(rest) != len(sizes) - 1:
        raise mixes
    kept = isinstance(first, Batch) or first in (-1, builder.graph.batch)
    if not kept or (first == -1 and math.prod(rest) != math.prod(shape)):
        raise mixes
    if rest.count(-1) > 1 or (first == -1 and -1 in rest):
        raise node.error(f"shape {wanted}: more than one -1")
    if -1 in rest:
        others = -math.prod(rest)
        if math.prod(shape) % others:
            raise node.error(f"shape {wanted}: {math.prod(shape)} values per sample do not fit")
        rest[rest.index(-1)] = math.prod(shape) // others
    return tuple(rest)


@handles("Squeeze")
def _squeeze(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    axes = axes_of(node, builder.constant_or_none(node), builder.graph.opset, 13)
    if axes is None:
        if builder.graph.batch == 1:
            raise node.unsupported("without axes it removes the batch axis; supported: given axes")
        axes = [i + 1 for i, size in enumerate(shape) if size == 1]
    removed = {normalized_axis(a, len(shape) + 1, node) for a in axes}
    if 0 in removed:
        raise node.unsupported("it removes the batch axis; supported: the axes of a sample")
    if any(shape[a - 1] != 1 for a in removed):
        raise node.error(f"axes {axes} of a sample {shape}; accepted: axes of size 1")
    kept = tuple(size for i, size in enumerate(shape) if i + 1 not in removed)
    return _reshaped(builder, node, layer, kept)


@handles("Unsqueeze")
def _unsqueeze(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    axes = axes_of(node, builder.constant_or_none(node), builder.graph.opset, 13)
    if not axes:
        raise node.error("axes are missing")
    rank = len(shape) + 1 + len(axes)
    added = {normalized_axis(a, rank, node) for a in axes}
    if len(added) != len(axes):
        raise node.error(f"axes {axes}; accepted: each once")
    if 0 in added:
        raise node.unsupported("it adds an axis before the batch; supported: behind it")
    sizes = iter(shape)
    return _reshaped(
        builder, node, layer, tuple(1 if i in added else next(sizes) for i in range(1, rank))
    )


@handles("Concat")
def _concat(builder: Builder, node: Node) -> Value:
    layers = [builder.activation(node, i) for i in range(len(node.inputs))]
    default = 1 if builder.graph.opset < 4 else None
    if default is None and "axis" not in node.attributes:
        raise node.error("attribute axis is missing")
    ranks = {len(builder.shape(layer)) for layer in layers}
    if len(ranks) != 1:
        raise node.error(f"inputs of {sorted(ranks)} axes (samples); accepted: the same for all")
    axis = normalized_axis(node.get_int("axis", 1), ranks.pop() + 1, node)
    if axis == 0:
        raise node.unsupported("it joins along the batch axis; supported: the axes of a sample")
    return builder.model.add_concat(node.name, layers, axis - 1)


@handles("Pad")
def _pad(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    rank = len(builder.shape(layer)) + 1
    mode = node.get_string("mode", "constant")
    if mode not in ("constant", "edge", "reflect"):
        raise node.unsupported(f"mode {mode}; supported: constant, edge and reflect")
    begin, end = [0] * rank, [0] * rank
    pads, axes = _pads_and_axes(builder, node, rank)
    if len(pads) != 2 * len(axes):
        raise node.error(f"{len(pads)} pads for {len(axes)} axes; accepted: two for each")
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = pads[i], pads[len(axes) + i]
    if begin[0] or end[0]:
        raise node.unsupported("it pads the batch axis; supported: the axes of a sample")
    if mode != "constant":
        widths = list(zip(begin[1:], end[1:], strict=True))
        if min(map(min, widths)) < 0:
            raise node.unsupported(f"mode {mode} with negative pads; supported: pads of 0 and more")
        return moved(builder, node, layer, lambda i: _padded(i, widths, mode))
    return builder.model.add_pad(node.name, layer, begin[1:], end[1:], _pad_value(builder, node))


def _padded(index: IntArray, widths: list[tuple[int, int]], mode: str) -> IntArray:
    return np.pad(index, widths, "edge") if mode == "edge" else np.pad(index, widths, "reflect")


def _pads_and_axes(builder: Builder, node: Node, rank: int) -> tuple[list[int], list[int]]:
    every = list(range(rank))
    if builder.graph.opset < 11:
        pads = node.get_ints("pads" if builder.graph.opset >= 2 else "paddings")
        if pads is None:
            raise node.error("attribute pads is missing")
        return pads, every
    pads = int_list(builder.constant(node, 1), node, "pads")
    if not node.input(3):
        return pads, every
    axes = int_list(builder.constant(node, 3), node, "axes")
    return pads, [normalized_axis(a, rank, node) for a in axes]


def _pad_value(builder: Builder, node: Node) -> float:
    if builder.graph.opset < 11:
        return node.get_float("value", 0.0)
    if not node.input(2):
        return 0.0
    value = floats(builder.constant(node, 2))
    if value.size != 1:
        raise node.error(f"constant_value has shape {value.shape}; accepted: one value")
    return float(value.reshape(-1)[0])


def _crop(
    builder: Builder, node: Node, name: str, layer: int, cuts: dict[int, tuple[int, int]]
) -> int:
    """Keeps [first, last) of each given axis of the sample: padding by negative amounts."""
    shape = builder.shape(layer)
    begin, end = [0] * len(shape), [0] * len(shape)
    for axis, (first, last) in cuts.items():
        begin[axis], end[axis] = -first, last - shape[axis]
    return builder.model.add_pad(name, layer, begin, end)


@handles("Slice")
def _slice(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    parts: dict[int, range] = {}
    get = builder.constant_or_none(node)
    for axis, start, stop, step in slices(node, get, builder.graph.opset, len(shape) + 1):
        if axis == 0:
            if start == 0 and stop >= 2**31 - 1 and step == 1:
                continue
            raise node.unsupported("it cuts the batch axis; supported: the axes of a sample")
        part = range(*slice(start, stop, step).indices(shape[axis - 1]))
        if not part:
            raise node.error(f"[{start}, {stop}) of axis {axis} of a sample {shape} is empty")
        parts[axis - 1] = part
    if any(part.step != 1 for part in parts.values()):
        return moved(builder, node, layer, lambda i: _taken(i, parts))
    cuts = {axis: (part.start, part.stop) for axis, part in parts.items()}
    return _crop(builder, node, node.name, layer, cuts)


def _taken(index: IntArray, parts: dict[int, range]) -> IntArray:
    for axis, part in parts.items():
        index = index.take(part, axis)
    return index


@handles("Split")
def _split(builder: Builder, node: Node) -> list[Value]:
    layer = builder.activation(node)
    shape = builder.shape(layer)
    axis = normalized_axis(node.get_int("axis", 0), len(shape) + 1, node)
    if axis == 0:
        raise node.unsupported("it cuts the batch axis; supported: the axes of a sample")
    size, count = shape[axis - 1], len(node.outputs)
    if builder.graph.opset < 13:
        parts = node.get_ints("split")
    else:
        parts = int_list(builder.constant(node, 1), node, "split") if node.input(1) else None
    if parts is None:
        each = -(-size // count)
        parts = [min(each, size - i * each) for i in range(count)]
    if len(parts) != count or sum(parts) != size or min(parts) < 1:
        raise node.error(f"parts {parts} of an axis of size {size} into {count} outputs")
    ends = np.cumsum(parts).tolist()
    names = [builder.extra_name(node, str(i)) for i in range(count)]
    return [
        _crop(builder, node, name, layer, {axis - 1: (end - part, end)})
        for name, part, end in zip(names, parts, ends, strict=True)
    ]


@handles("Shape")
def _shape(builder: Builder, node: Node) -> Value:
    return part_of_shape(node, shape_array([BATCH, *builder.shape(builder.activation(node))]))
