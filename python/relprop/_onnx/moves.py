"""Handlers of the operators that change the order of values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relprop._compose import add_moved, numbered
from relprop._onnx.build import Builder, Value, handles
from relprop._onnx.fold import normalized_axis
from relprop._onnx.parse import Node

IntArray = npt.NDArray[np.int64]


def moved(builder: Builder, node: Node, layer: int, move: Callable[[IntArray], IntArray]) -> Value:
    """The layer of what `move` makes of the numbers of the sample's values."""
    index = move(numbered(builder.shape(layer)))
    if index.ndim == 0:
        index = index.reshape(1)
    return add_moved(builder.model, node.name, layer, index)


@handles("Transpose")
def _transpose(builder: Builder, node: Node) -> Value:
    layer = builder.activation(node)
    rank = len(builder.shape(layer)) + 1
    order = node.get_ints("perm") or list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        raise node.error(f"perm {order} for {rank} axes")
    if order[0] != 0:
        raise node.unsupported(
            f"perm {order} moves the batch axis; supported: the axes of a sample"
        )
    return moved(builder, node, layer, lambda i: i.transpose([a - 1 for a in order[1:]]))


@handles("Gather")
def _gather(builder: Builder, node: Node) -> Value:
    """Parts of an axis by constant numbers."""
    layer, index = builder.activation(node), builder.constant(node, 1)
    shape = builder.shape(layer)
    axis = normalized_axis(node.get_int("axis", 0), len(shape) + 1, node)
    if axis == 0:
        raise node.unsupported("it takes from the batch axis; supported: the axes of a sample")
    if index.dtype.kind not in "iu" or index.size == 0:
        raise node.error(f"indices of type {index.dtype}, shape {index.shape}; accepted: integers")
    size = shape[axis - 1]
    if index.min() < -size or index.max() >= size:
        raise node.error(f"indices {index.min()} to {index.max()} of an axis of size {size}")
    return moved(builder, node, layer, lambda i: i.take(index, axis - 1, mode="wrap"))


def _image(builder: Builder, node: Node, layer: int) -> tuple[int, int, int]:
    shape = builder.shape(layer)
    if len(shape) != 3:
        raise node.unsupported(f"a sample of shape {shape}; supported: (C, H, W)")
    return shape[0], shape[1], shape[2]


@handles("DepthToSpace")
def _depth_to_space(builder: Builder, node: Node) -> Value:
    layer, block = builder.activation(node), node.get_int("blocksize", 0)
    channels, height, width = _image(builder, node, layer)
    mode = node.get_string("mode", "DCR")
    if block < 1 or channels % (block * block) or mode not in ("DCR", "CRD"):
        raise node.error(f"blocksize {block}, mode {mode} for {channels} channels")

    def move(i: IntArray) -> IntArray:
        if mode == "DCR":
            parts = i.reshape(block, block, -1, height, width).transpose(2, 3, 0, 4, 1)
        else:
            parts = i.reshape(-1, block, block, height, width).transpose(0, 3, 1, 4, 2)
        return parts.reshape(-1, height * block, width * block)

    return moved(builder, node, layer, move)


@handles("SpaceToDepth")
def _space_to_depth(builder: Builder, node: Node) -> Value:
    layer, block = builder.activation(node), node.get_int("blocksize", 0)
    channels, height, width = _image(builder, node, layer)
    if block < 1 or height % block or width % block:
        raise node.error(f"blocksize {block} for an image of {height} x {width}")

    def move(i: IntArray) -> IntArray:
        parts = i.reshape(channels, height // block, block, width // block, block)
        return parts.transpose(2, 4, 0, 1, 3).reshape(-1, height // block, width // block)

    return moved(builder, node, layer, move)
