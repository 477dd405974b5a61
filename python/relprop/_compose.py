"""What the front ends for ONNX and torch build alike: moved values, gates, resizing matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relprop import _core

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
NewName = Callable[[str], str]

# Layers that a gate's values may pass behind its own function.
_CARRIERS = frozenset({"gather", "identity", "reshape", "scale_shift"})


def numbered(shape: tuple[int, ...]) -> IntArray:
    """The values of a sample, numbered in row-major order."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def add_moved(model: _core.Model, name: str, layer: int, index: IntArray) -> int:
    """A layer whose values are those of another one, given by their numbers (see `numbered`)."""
    flat = np.ascontiguousarray(index).reshape(-1)
    if np.array_equal(flat, np.arange(math.prod(model.shape(layer)))):
        return model.add_reshape(name, layer, index.shape)
    return model.add_gather(name, layer, index.shape, flat)


def add_broadcast(model: _core.Model, layer: int, shape: tuple[int, ...], new_name: NewName) -> int:
    """The layer's values repeated along new axes and those of size 1; itself where none are.

    Raises:
        ValueError: the shapes do not broadcast.
    """
    if model.shape(layer) == shape:
        return layer
    index = np.broadcast_to(numbered(model.shape(layer)), shape)
    return add_moved(model, new_name("broadcast"), layer, index)


def add_product(model: _core.Model, name: str, a: int, b: int, new_name: NewName) -> int:
    """The product of two layers, which broadcast; the gate, if one is, is told to the engine.

    A factor is the gate if it alone comes out of a sigmoid or hard sigmoid; failing that, if it
    alone is broadcast; failing that, if it alone comes out of a clip, as in x * relu6(x + 3) / 6.

    Raises:
        ValueError: the shapes do not broadcast.
    """
    shapes = model.shape(a), model.shape(b)
    shape = np.broadcast_shapes(*shapes)
    functions = [_function(model, layer) for layer in (a, b)]
    a, b = (add_broadcast(model, layer, shape, new_name) for layer in (a, b))
    for is_gate in (
        [function in ("sigmoid", "hard_sigmoid") for function in functions],
        [s != shape for s in shapes],
        [function == "clip" for function in functions],
    ):
        if is_gate[0] != is_gate[1]:
            signal, gate = (a, b) if is_gate[1] else (b, a)
            return model.add_product(name, signal, gate)
    return model.add_product(name, a, b, gate=False)


def _function(model: _core.Model, layer: int) -> str:
    """The kind of the layer that the values come out of."""
    nodes = model.nodes
    while nodes[layer][1] in _CARRIERS:
        layer = nodes[layer][2][0]
    return nodes[layer][1]


def nearest_matrix(source: IntArray, sources: int) -> FloatArray:
    """(out, in): output o is input source[o]."""
    return np.eye(sources, dtype=np.float32)[source]


def linear_matrix(position: npt.NDArray[np.float64], sources: int) -> FloatArray:
    """(out, in): output o lies at position[o] between two inputs; beyond the ends it is the end."""
    at = np.clip(position, 0, sources - 1)
    low = np.floor(at).astype(np.int64)
    part = at - low
    matrix = np.zeros((len(at), sources))
    np.add.at(matrix, (np.arange(len(at)), low), 1 - part)
    np.add.at(matrix, (np.arange(len(at)), np.minimum(low + 1, sources - 1)), part)
    return matrix.astype(np.float32)
