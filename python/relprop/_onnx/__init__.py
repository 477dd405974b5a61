"""ONNX files as relprop models. Importing this module needs the package onnx."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence

from relprop import _core
from relprop._onnx import activations, linear, moves, resize, shapes, windows
from relprop._onnx.build import Builder
from relprop._onnx.fold import Getter, fold
from relprop._onnx.fuse import find_fusions
from relprop._onnx.parse import Array, Graph, Node, onnx, parse

__all__ = ["OnnxGraph", "load"]

# Importing them registers the operators.
_HANDLER_MODULES = (activations, linear, moves, resize, shapes, windows)

Source = str | os.PathLike[str] | bytes | onnx.ModelProto


class OnnxGraph:
    """A parsed and checked file, from which models for any input size can be built."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._constants = _fold_constants(graph)
        self._fusions = find_fusions(graph, self._constants)

    @property
    def input_name(self) -> str:
        """The name of the one input that is not a weight."""
        return self._graph.input_name

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The declared sizes of a sample, without the batch; None where a size is left open."""
        return self._graph.sample_shape

    @property
    def outputs(self) -> list[str]:
        """The declared outputs."""
        return list(self._graph.outputs)

    def tensor(self, name: str) -> str:
        """The tensor that an output, tensor or node name stands for.

        Raises:
            ValueError: there is none; the message lists near names.
        """
        graph = self._graph
        if name in graph.outputs or name in graph.producer or name == graph.input_name:
            return name
        for node in graph.nodes:
            if node.name == name:
                return node.outputs[0]
        known = [*graph.outputs, *graph.producer, *(node.name for node in graph.nodes)]
        near = difflib.get_close_matches(name, dict.fromkeys(known), n=5, cutoff=0.4)
        raise ValueError(
            f"no output, tensor or node is called '{name}'; near names: "
            f"{', '.join(map(repr, near or graph.outputs[:5]))}"
        )

    def build(
        self, sample_shape: Sequence[int] | None = None, output: str | None = None
    ) -> _core.Model:
        """The model for samples of this shape (default: the declared one).

        With output, an output, tensor or node name, only what it depends on is built. Otherwise
        every declared output is, the first one as default.

        Raises:
            ValueError: a size is open or does not fit, or the file contradicts itself.
            UnsupportedError: a node that relprop has no layer for.
        """
        shape = self._checked_shape(sample_shape)
        names = self._graph.outputs if output is None else [output]
        targets = [self.tensor(name) for name in names]
        builder = Builder(self._graph, shape, self._constants)
        builder.run(targets, self._fusions)
        taken = {name: i for i, (name, *_) in enumerate(builder.model.nodes)}
        for name, tensor in zip(names, targets, strict=True):
            layer = builder.values.get(tensor)
            if not isinstance(layer, int):
                raise ValueError(f"output '{name}' does not depend on input '{self.input_name}'")
            # A node name may belong to a layer in front of the tensor that it stands for.
            builder.model.add_output(name if taken.get(name, layer) == layer else tensor, layer)
        return builder.model

    def _checked_shape(self, sample_shape: Sequence[int] | None) -> tuple[int, ...]:
        declared = self.input_shape
        shape = declared if sample_shape is None else tuple(sample_shape)
        text = "(" + ", ".join("any" if s is None else str(s) for s in declared) + ")"
        fits = len(shape) == len(declared) and all(
            d is None or d == s for d, s in zip(declared, shape, strict=False)
        )
        if not fits:
            raise ValueError(f"input '{self.input_name}': sample shape {shape}; accepted: {text}")
        sizes = tuple(s for s in shape if s is not None)
        if len(sizes) != len(shape):
            raise ValueError(
                f"input '{self.input_name}' leaves sizes open: {text}; give the sample's shape"
            )
        return sizes


def load(source: Source) -> OnnxGraph:
    """Parses and checks a file (path, bytes or onnx.ModelProto) without building a model."""
    return OnnxGraph(parse(source))


def _fold_constants(graph: Graph) -> dict[str, Array]:
    constants = dict(graph.weights)
    for node in graph.nodes:
        names = [name for name in node.inputs if name]
        if not node.outputs or not all(name in constants for name in names):
            continue
        try:
            value = fold(node, _getter(node, constants), graph.opset)
        except ValueError:
            continue  # it is computed, and reported, again if something needs it
        if value is not None and node.outputs[0]:
            constants[node.outputs[0]] = value
    return constants


def _getter(node: Node, constants: dict[str, Array]) -> Getter:
    return lambda index: constants.get(node.input(index))
