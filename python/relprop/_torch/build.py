"""From a traced torch graph to relprop's model, one handler per ATen operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from relprop import _core
from relprop._torch.graph import BATCH, Call, Graph, nodes_of
from relprop._torch.names import unique

# A tensor is the index of the layer that makes it, or a constant; some operators make several.
Value = int | torch.Tensor
FloatArray = npt.NDArray[np.float32]
Handler = Callable[["Builder", Call], Value | list[Value]]
H = TypeVar("H", bound=Handler)

_HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[H], H]:
    """Registers the function as the handler of these operators."""

    def register(handler: H) -> H:
        _HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


def supported_operators() -> list[str]:
    """What an activation may go through; what depends on weights alone is computed by torch."""
    return sorted(_HANDLERS)


class Builder:
    """A model in the making: `values` holds what is known of each node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[torch.fx.Node, Value | list[Value]] = {graph.input: 0, **graph.constants}
        self._names = {call.name for call in graph.calls.values()}
        self._input_name = unique(graph.input.name, self._names)
        self._names.add(self._input_name)
        self.model = _core.Model(graph.sample_shape, self._input_name)

    def run(self, targets: list[torch.fx.Node]) -> None:
        """Adds every layer that the targets depend on."""
        needed = self._needed(targets)
        for node, call in self.graph.calls.items():
            if node not in needed:
                continue
            try:
                self.values[node] = self._convert(call)
            except ValueError as error:
                # Messages of the core name the layer; those of NumPy name nothing.
                if str(error).startswith(("node '", "layer '")):
                    raise
                raise type(error)(f"{call.label}: {error}") from error

    def declare(self, name: str, node: torch.fx.Node) -> str:
        """Makes the node an output; its name, which changes where a layer has it already."""
        layer = self.values[node]
        if not isinstance(layer, int):
            raise _core.UnsupportedError(
                f"output '{name}' does not depend on the module's input; supported: tensors that do"
            )
        names = {n: i for i, (n, *_) in enumerate(self.model.nodes)}
        if names.get(name, layer) != layer:
            name = unique(name, names)
        self.model.add_output(name, layer)
        return name

    def _needed(self, targets: list[torch.fx.Node]) -> set[torch.fx.Node]:
        needed: set[torch.fx.Node] = set()
        waiting = list(targets)
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting.extend(node.all_input_nodes)
        return needed

    def _convert(self, call: Call) -> Value | list[Value]:
        inputs = list(nodes_of(list(call.arguments.values())))
        known = [self.values.get(node) for node in inputs]
        if not any(isinstance(value, int | list) for value in known):
            return self._constant_result(call)
        handler = _HANDLERS.get(call.op)
        if handler is None:
            raise call.unsupported(
                f"no such operator; supported: {', '.join(supported_operators())}"
            )
        return handler(self, call)

    def _constant_result(self, call: Call) -> Value:
        """What depends on weights alone, computed by torch."""
        schema = getattr(call.node.target, "_schema", None)
        if schema is not None and schema.is_mutable and call.op != "detach":
            raise call.unsupported("it changes a weight in place; supported: operators that do not")
        fill = lambda node: self.values[node]  # noqa: E731
        args = torch.fx.map_arg(call.node.args, fill)
        kwargs = torch.fx.map_arg(call.node.kwargs, fill)
        with torch.no_grad():
            result = call.node.target(*args, **kwargs)  # type: ignore[operator]
        if not isinstance(result, torch.Tensor):
            raise call.unsupported("a constant that is no tensor; supported: tensors")
        return result

    def activation(self, call: Call, argument: str = "input") -> int:
        """The layer behind an argument that must depend on the module's input."""
        value = self.known(call, argument)
        if not isinstance(value, int):
            raise call.unsupported(
                f"{argument} is a constant; supported: a tensor that depends on the module's input"
            )
        return value

    def known(self, call: Call, argument: str) -> Any:
        """What an argument holds: a layer, a constant tensor, or a plain value."""
        value = call[argument]
        return self.values[value] if isinstance(value, torch.fx.Node) else value

    def constant(self, call: Call, argument: str) -> FloatArray | None:
        """The values of an argument that must not depend on the input; None if it is left out."""
        value = self.known(call, argument)
        if value is None:
            return None
        if not isinstance(value, torch.Tensor):
            raise call.unsupported(
                f"{argument} depends on the module's input; supported: parameters and constants"
            )
        return floats(value)

    def shape(self, layer: int) -> tuple[int, ...]:
        """The layer's output shape, without the batch axis."""
        return self.model.shape(layer)

    def part(self, call: Call, suffix: str) -> str:
        """A free name for a layer that prepares what the call's own layer does."""
        name = unique(f"{call.name}/{suffix}", self._names)
        self._names.add(name)
        return name

    def is_softmax(self, layer: int) -> bool:
        """Whether the layer is a softmax, behind which the core takes no layer at all."""
        return self.model.nodes[layer][1] == "softmax"


def floats(tensor: torch.Tensor) -> FloatArray:
    """The values of a weight as contiguous float32; shared with it where it is that already."""
    if tensor.is_complex():
        raise _core.UnsupportedError("complex numbers where weights are expected")
    values = tensor.detach().to("cpu", torch.float32).contiguous().resolve_neg().numpy()
    return np.asarray(values, np.float32)


def sample_axis(call: Call, axis: int, rank: int) -> int:
    """An axis, maybe counted from the end, of a tensor of this rank; as axis of a sample."""
    axis = axis + rank if axis < 0 else axis
    if axis == 0:
        raise call.unsupported("it works along the batch axis; supported: the axes of a sample")
    return axis - 1


def sample_shape(call: Call) -> tuple[int, ...]:
    """The shape of a sample of the result, whose first axis must be the batch."""
    shape = call.shape
    if len(shape) < 2 or shape[0] != BATCH:
        shown = tuple("N" if s == BATCH else s for s in shape)
        raise call.unsupported(
            f"result of shape {shown} mixes the samples of a batch or leaves no axis beside it; "
            "supported: shapes (N, ...)"
        )
    return shape[1:]
