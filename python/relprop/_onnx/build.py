"""From a parsed ONNX graph to relprop's model, one handler per operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from relprop import _core
from relprop._core import UnsupportedError
from relprop._onnx.fold import fold
from relprop._onnx.fuse import BiasedMatMul, Fusion, WrittenActivation
from relprop._onnx.parse import Array, Graph, Node, unique

# A tensor is the index of the layer that makes it, or a constant.
Value = int | Array
FloatArray = npt.NDArray[np.float32]
Handler = Callable[["Builder", Node], Value | list[Value]]
H = TypeVar("H", bound=Handler)

_HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[H], H]:
    """Registers the function as the handler of these operators."""

    def register(handler: H) -> H:
        _HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


def supported_operators() -> list[str]:
    """What an activation may go through; constants are folded besides."""
    return sorted(_HANDLERS)


class Builder:
    """A model in the making: `values` holds what is known of each tensor."""

    def __init__(
        self, graph: Graph, sample_shape: tuple[int, ...], constants: dict[str, Array]
    ) -> None:
        self.graph = graph
        self.model = _core.Model(sample_shape, graph.input_name)
        self.values: dict[str, Value] = {graph.input_name: 0, **constants}

    def run(self, targets: list[str], fusions: dict[int, Fusion]) -> None:
        """Adds every layer that the targets depend on."""
        for index in sorted(self._needed(targets, fusions)):
            node = self.graph.nodes[index]
            try:
                results = self._convert(index, fusions)
            except (TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError) as error:
                raise node.error(f"its attributes or inputs are malformed: {error}") from error
            except ValueError as error:
                # Messages of the core name the layer; those of NumPy name nothing.
                if str(error).startswith(("node '", "layer '")):
                    raise
                raise type(error)(f"{node.label}: {error}") from error
            self.values.update(
                (name, value) for name, value in zip(node.outputs, results, strict=False) if name
            )

    def _needed(self, targets: list[str], fusions: dict[int, Fusion]) -> set[int]:
        needed: set[int] = set()
        waiting = list(targets)
        while waiting:
            name = waiting.pop()
            index = self.graph.producer.get(name)
            if name in self.values or index is None or index in needed:
                continue
            needed.add(index)
            fusion = fusions.get(index)
            if isinstance(fusion, WrittenActivation):
                waiting.append(fusion.source)
            elif isinstance(fusion, BiasedMatMul):
                waiting.append(self.graph.nodes[fusion.matmul].inputs[0])
            else:
                waiting.extend(filter(None, self.graph.nodes[index].inputs))
        return needed

    def _convert(self, index: int, fusions: dict[int, Fusion]) -> list[Value]:
        node, fusion = self.graph.nodes[index], fusions.get(index)
        if isinstance(fusion, WrittenActivation):
            source = self.values[fusion.source]
            assert isinstance(source, int)
            return [self.model.add_activation(node.name, source, fusion.function)]
        if isinstance(fusion, BiasedMatMul):
            return [self.dense(self.graph.nodes[fusion.matmul], fusion.bias)]
        if not any(isinstance(self.known(node, i), int) for i in range(len(node.inputs))):
            folded = fold(node, self.constant_or_none(node), self.graph.opset)
            if folded is not None:
                return [folded]
        handler = None if node.domain else _HANDLERS.get(node.op)
        if handler is None:
            raise node.unsupported(
                f"no such operator; supported: {', '.join(supported_operators())}"
            )
        result = handler(self, node)
        return result if isinstance(result, list) else [result]

    def known(self, node: Node, index: int) -> Value | None:
        """What an input holds, None if it is left out."""
        name = node.input(index)
        if not name:
            return None
        if name not in self.values:
            made_by = self.graph.nodes[self.graph.producer[name]]
            raise made_by.unsupported(
                f"{node.label} reads its output '{name}'; supported: output 0"
            )
        return self.values[name]

    def constant_or_none(self, node: Node) -> Callable[[int], Array | None]:
        """A getter of the node's constant inputs."""

        def get(index: int) -> Array | None:
            value = self.known(node, index)
            if isinstance(value, int):
                raise node.unsupported(
                    f"input {index} '{node.inputs[index]}' depends on the model's input; "
                    "supported: a constant"
                )
            return value

        return get

    def activation(self, node: Node, index: int = 0) -> int:
        """The layer behind an input that must not be a constant."""
        node.required(index)
        value = self.known(node, index)
        if not isinstance(value, int):
            raise node.unsupported(
                f"input {index} '{node.inputs[index]}' is a constant; supported: a tensor that "
                "depends on the model's input"
            )
        return value

    def constant(self, node: Node, index: int) -> Array:
        """An input that must be a constant."""
        node.required(index)
        value = self.constant_or_none(node)(index)
        assert value is not None
        return value

    def shape(self, layer: int) -> tuple[int, ...]:
        """The layer's output shape, without the batch axis."""
        return self.model.shape(layer)

    def extra_name(self, node: Node, suffix: str) -> str:
        """A free name for a second layer of one node."""
        taken = {name for name, *_ in self.model.nodes} | {n.name for n in self.graph.nodes}
        return unique(f"{node.name}/{suffix}", taken | set(self.graph.outputs))

    def is_softmax(self, layer: int) -> bool:
        """Whether the layer is a softmax, behind which the core takes no layer at all."""
        return self.model.nodes[layer][1] == "softmax"

    def dense(self, node: Node, bias: Array | None = None) -> int:
        """The dense layer of a MatMul node."""
        weight = self.constant(node, 1)
        layer = self.activation(node)
        if weight.ndim < 2 or any(s != 1 for s in weight.shape[:-2]):
            raise node.unsupported(
                f"weight of shape {weight.shape}; supported: (in, out), one for all samples"
            )
        if weight.ndim > len(self.shape(layer)) + 1:
            raise node.unsupported(
                f"weight of shape {weight.shape} adds axes to a sample of {self.shape(layer)}"
            )
        matrix = weight.reshape(weight.shape[-2:])
        return self.model.add_dense(
            node.name, layer, floats(matrix.T), None if bias is None else floats(bias)
        )


def floats(array: Array) -> FloatArray:
    """A constant as contiguous float32, whatever it was stored in."""
    if array.dtype == object or np.issubdtype(array.dtype, np.complexfloating):
        raise UnsupportedError("a shape or complex numbers where weights are expected")
    with np.errstate(over="ignore"):  # infinities are refused by the layer
        return np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
