"""Torch modules as relprop models. Importing this package needs torch."""

from __future__ import annotations

from typing import Any

from relprop import _core
from relprop._torch import arithmetic, linear, moves, pointwise, windows
from relprop._torch.build import Builder
from relprop._torch.graph import trace

__all__ = ["build"]

# Importing them registers the operators.
_HANDLER_MODULES = (arithmetic, linear, moves, pointwise, windows)


def build(module: Any, example: Any, output: str | None = None) -> tuple[_core.Model, str]:
    """The network of a module as it is now, and the name of the explained output.

    With output, an output or layer name, only what it depends on is built. Otherwise every output
    is, the first one as default.

    Raises:
        TypeError, ValueError: what `relprop.from_torch` documents.
        UnsupportedError: a node that relprop has no layer for.
    """
    graph = trace(module, example)
    builder = Builder(graph)
    wanted = graph.outputs if output is None else {output: graph.find(output)}
    builder.run(list(wanted.values()))
    names = [builder.declare(name, node) for name, node in wanted.items()]
    return builder.model, names[0]
