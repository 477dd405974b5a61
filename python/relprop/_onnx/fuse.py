"""Groups of ONNX nodes that are one layer: written-out activations, MatMul with its bias."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from relprop._onnx.parse import Array, Graph

_GRID = np.linspace(-6.0, 6.0, 49)
_MAX_NODES = 16
# Constants such as sqrt(2) are stored in float32; gelu and gelu_tanh differ by 5e-4.
_TOLERANCE = 1e-5

Scalar = Callable[..., Array]


def _erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


_SCALAR: dict[str, Scalar] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "Identity": np.asarray,
    "Cast": np.asarray,
}
_KNOWN: dict[str, Array] = {
    "silu": _GRID * _sigmoid(_GRID),
    "gelu": _GRID * (1 + _erf(_GRID / math.sqrt(2))) / 2,
    "gelu_tanh": _GRID * (1 + np.tanh(math.sqrt(2 / math.pi) * (_GRID + 0.044715 * _GRID**3))) / 2,
}


@dataclass
class WrittenActivation:
    """The node's result is function(source)."""

    function: str
    source: str


@dataclass
class BiasedMatMul:
    """The node adds a constant to the result of this MatMul, which nothing else reads."""

    matmul: int
    bias: Array


Fusion = WrittenActivation | BiasedMatMul


def find_fusions(graph: Graph, constants: dict[str, Array]) -> dict[int, Fusion]:
    """The groups, under the index of their last node."""
    fusions: dict[int, Fusion] = {}
    for index, node in enumerate(graph.nodes):
        if node.domain:
            continue
        found: Fusion | None = None
        if node.op == "Mul":
            found = _written_activation(graph, constants, index, fusions.keys())
        elif node.op == "Add":
            found = _biased_matmul(graph, constants, index)
        if found is not None:
            fusions[index] = found
    return fusions


def _biased_matmul(graph: Graph, constants: dict[str, Array], index: int) -> BiasedMatMul | None:
    inputs = graph.nodes[index].inputs
    for product, other in (inputs, inputs[::-1]) if len(inputs) == 2 else ():
        source = graph.producer.get(product)
        if other not in constants or product in constants or source is None:
            continue
        matmul = graph.nodes[source]
        alone = graph.consumers[product] == [index] and product not in graph.outputs
        if matmul.op != "MatMul" or matmul.domain or len(matmul.inputs) != 2 or not alone:
            continue
        weight, bias = constants.get(matmul.inputs[1]), constants[other]
        if weight is None or weight.ndim < 2 or matmul.inputs[0] in constants:
            continue
        if bias.size in (1, weight.shape[-1]) and bias.size == (bias.shape or (1,))[-1]:
            return BiasedMatMul(source, np.broadcast_to(bias.reshape(-1), weight.shape[-1:]))
    return None


def _written_activation(
    graph: Graph, constants: dict[str, Array], index: int, closed: Collection[int]
) -> WrittenActivation | None:
    """Tries the tensors behind the node, nearest first, as the one it is a function of.

    Exporters write the same function in many ways (x/sqrt(2) or x*0.7071, the factor 1/2 first or
    last), so values are compared instead of graphs.
    """
    region = _region(graph, constants, index, closed)
    if not {"Erf", "Tanh", "Sigmoid"} & {graph.nodes[i].op for i in region}:
        return None
    sources = {name for i in region for name in graph.nodes[i].inputs if name not in constants}
    result = graph.nodes[index].outputs[0]
    for source in sorted(sources, key=lambda name: -graph.producer.get(name, -1)):
        memo: dict[str, Array | None] = {source: _GRID}
        with np.errstate(all="ignore"):
            values = _evaluate(graph, constants, set(region), result, memo)
        for function, known in _KNOWN.items():
            if values is not None and np.allclose(values, known, rtol=0, atol=_TOLERANCE):
                return WrittenActivation(function, source)
    return None


def _region(
    graph: Graph, constants: dict[str, Array], index: int, closed: Collection[int]
) -> list[int]:
    """Elementwise nodes behind this one, nearest first, up to those that are closed."""
    region = [index]
    for i in region:
        for name in graph.nodes[i].inputs:
            source = graph.producer.get(name)
            if source is None or source in region or source in closed or name in constants:
                continue
            node = graph.nodes[source]
            if node.op in _SCALAR and not node.domain and len(region) < _MAX_NODES:
                region.append(source)
    return region


def _evaluate(
    graph: Graph,
    constants: dict[str, Array],
    region: set[int],
    name: str,
    memo: dict[str, Array | None],
) -> Array | None:
    """The tensor's values on the grid, None if they depend on more than the source."""
    if name in memo:
        return memo[name]
    memo[name] = None
    if name in constants:
        value = constants[name]
        if value.size == 1 and value.dtype != object:
            memo[name] = value.reshape(-1).astype(np.float64)
        return memo[name]
    source = graph.producer.get(name)
    if source is None or source not in region:
        return None
    node = graph.nodes[source]
    arguments = [_evaluate(graph, constants, region, i, memo) for i in node.inputs]
    known = [a for a in arguments if a is not None]
    if len(known) == len(arguments) == (2 if node.op in ("Add", "Sub", "Mul", "Div", "Pow") else 1):
        memo[name] = _SCALAR[node.op](*known)
    return memo[name]
