"""ONNX files into plain, checked data: nodes in topological order, weights as NumPy arrays."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop._core import UnsupportedError

try:
    import onnx as onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
    from onnx import numpy_helper
except ImportError as error:
    raise ImportError(
        "reading ONNX files needs the package onnx: pip install relprop[onnx]"
    ) from error

Array = npt.NDArray[Any]
MAX_ELEMENTS = 2**40

_TYPE = onnx.TensorProto
# Bytes per value, and the typed field that holds the values where raw_data does not.
_STORAGE: dict[int, tuple[int, str]] = {
    _TYPE.FLOAT: (4, "float_data"),
    _TYPE.DOUBLE: (8, "double_data"),
    _TYPE.FLOAT16: (2, "int32_data"),
    _TYPE.BFLOAT16: (2, "int32_data"),
    _TYPE.INT8: (1, "int32_data"),
    _TYPE.INT16: (2, "int32_data"),
    _TYPE.INT32: (4, "int32_data"),
    _TYPE.INT64: (8, "int64_data"),
    _TYPE.UINT8: (1, "int32_data"),
    _TYPE.UINT16: (2, "int32_data"),
    _TYPE.UINT32: (4, "uint64_data"),
    _TYPE.UINT64: (8, "uint64_data"),
    _TYPE.BOOL: (1, "int32_data"),
}
FLOAT_TYPES = (_TYPE.FLOAT, _TYPE.DOUBLE, _TYPE.FLOAT16, _TYPE.BFLOAT16)


@dataclass
class Node:
    """One operator. `inputs` keeps the empty names of optional inputs that are left out."""

    name: str
    op: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, onnx.AttributeProto]

    @property
    def label(self) -> str:
        op = f"{self.domain}::{self.op}" if self.domain else self.op
        return f"node '{self.name}' ({op})"

    def error(self, message: str) -> ValueError:
        return ValueError(f"{self.label}: {message}")

    def unsupported(self, message: str) -> UnsupportedError:
        return UnsupportedError(f"{self.label}: {message}")

    def input(self, index: int) -> str:
        """The name of an input, empty if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def required(self, index: int) -> str:
        name = self.input(index)
        if not name:
            raise self.error(f"input {index} is missing")
        return name

    def _typed(self, name: str, kind: Any) -> Any:
        attribute = self.attributes.get(name)
        if attribute is None:
            return None
        if attribute.type != kind:
            wanted = onnx.AttributeProto.AttributeType.Name(kind)
            raise self.error(f"attribute {name} is not of type {wanted}")
        return onnx.helper.get_attribute_value(attribute)

    def get_int(self, name: str, default: int) -> int:
        value = self._typed(name, onnx.AttributeProto.INT)
        return default if value is None else int(value)

    def get_float(self, name: str, default: float) -> float:
        value = self._typed(name, onnx.AttributeProto.FLOAT)
        return default if value is None else float(value)

    def get_string(self, name: str, default: str) -> str:
        value = self._typed(name, onnx.AttributeProto.STRING)
        return default if value is None else value.decode("utf-8", "replace")

    def get_ints(self, name: str) -> list[int] | None:
        value = self._typed(name, onnx.AttributeProto.INTS)
        return None if value is None else [int(v) for v in value]

    def get_floats(self, name: str) -> list[float] | None:
        value = self._typed(name, onnx.AttributeProto.FLOATS)
        return None if value is None else [float(v) for v in value]

    def get_tensor(self, name: str) -> Array | None:
        value = self._typed(name, onnx.AttributeProto.TENSOR)
        return None if value is None else to_array(value, f"{self.label}: attribute {name}")


@dataclass
class Graph:
    """A parsed file. `batch` is the declared batch size, None where it is open."""

    opset: int
    nodes: list[Node]
    weights: dict[str, Array]
    input_name: str
    batch: int | None
    sample_shape: tuple[int | None, ...]
    outputs: list[str]
    consumers: dict[str, list[int]] = field(default_factory=dict)
    producer: dict[str, int] = field(default_factory=dict)


def parse(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> Graph:
    """The graph of an ONNX file, given as path, bytes or ModelProto.

    Raises:
        ValueError: the file is damaged or contradicts itself.
        UnsupportedError: it is sound, but not a network of one float input.
        FileNotFoundError, PermissionError: as of open().
    """
    model, folder = _read(source)
    if not model.HasField("graph") or not model.graph.node:
        raise ValueError("not an ONNX model: it has no graph, or a graph without nodes")
    weights = _weights(model.graph, folder)
    input_name, batch, sample_shape = _input(model.graph, weights)
    nodes = _nodes(model.graph, input_name)
    graph = Graph(
        opset=_opset(model),
        nodes=nodes,
        weights=weights,
        input_name=input_name,
        batch=batch,
        sample_shape=sample_shape,
        outputs=[value.name for value in model.graph.output],
    )
    _connect(graph)
    return graph


def _read(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None]:
    if isinstance(source, onnx.ModelProto):
        return source, None
    folder = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        folder = Path(source).resolve().parent
        data = Path(source).read_bytes()
    else:
        raise TypeError(
            f"source is of type {type(source).__name__}; accepted: a path, bytes or onnx.ModelProto"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"not an ONNX model, or a truncated one ({len(data)} bytes): {error}"
        ) from error
    return model, folder


def _opset(model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] < 1:
        raise ValueError(
            f"the model imports versions {versions} of the standard operators; accepted: one, "
            "from 1 on"
        )
    return int(versions[0])


def to_array(tensor: onnx.TensorProto, what: str, folder: Path | None = None) -> Array:
    """The values of a tensor, after every size was checked against the bytes that are there."""
    dims = [int(d) for d in tensor.dims]
    if any(d < 0 for d in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise ValueError(f"{what} has dims {dims}; accepted: sizes from 0 to {MAX_ELEMENTS} values")
    if tensor.data_type not in _STORAGE:
        known = ", ".join(sorted(_TYPE.DataType.Name(t).lower() for t in _STORAGE))
        names = _TYPE.DataType.values()
        given = (
            _TYPE.DataType.Name(tensor.data_type)
            if tensor.data_type in names
            else str(tensor.data_type)
        )
        raise UnsupportedError(f"{what} is of type {given.lower()}; supported: {known}")
    if tensor.HasField("segment"):
        raise UnsupportedError(f"{what} is stored in segments; supported: whole tensors")
    if tensor.data_location == _TYPE.EXTERNAL:
        tensor = _with_external_data(tensor, what, folder)
    width, values = _STORAGE[tensor.data_type]
    count = math.prod(dims)
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * width:
            raise ValueError(
                f"{what} has dims {dims} = {count * width} bytes, but stores {len(tensor.raw_data)}"
            )
    elif len(getattr(tensor, values)) != count:
        raise ValueError(
            f"{what} has dims {dims} = {count} values, but stores {len(getattr(tensor, values))}"
        )
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (TypeError, OverflowError) as error:  # values that do not fit the type
        raise ValueError(f"{what} cannot be read: {error}") from error


def _with_external_data(
    tensor: onnx.TensorProto, what: str, folder: Path | None
) -> onnx.TensorProto:
    if folder is None:
        raise ValueError(f"{what} is stored in another file; give the model's path, not its bytes")
    loaded = onnx.TensorProto()
    loaded.CopyFrom(tensor)
    try:
        onnx.external_data_helper.load_external_data_for_tensor(loaded, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ValueError(f"{what}: its file cannot be read: {error}") from error
    return loaded


def _weights(graph: onnx.GraphProto, folder: Path | None) -> dict[str, Array]:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise UnsupportedError(f"weight '{name}' is sparse; supported: dense weights")
    weights: dict[str, Array] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in weights:
            raise ValueError(f"weight '{tensor.name}': its name is empty or taken")
        weights[tensor.name] = to_array(tensor, f"weight '{tensor.name}'", folder)
    return weights


def _input(
    graph: onnx.GraphProto, weights: dict[str, Array]
) -> tuple[str, int | None, tuple[int | None, ...]]:
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise UnsupportedError(
            f"the model has {len(inputs)} inputs ({names}); supported: exactly one that is not a "
            "weight"
        )
    name, kind = inputs[0].name, inputs[0].type
    if not name:
        raise ValueError("the model's input has no name")
    if not kind.HasField("tensor_type") or kind.tensor_type.elem_type not in FLOAT_TYPES:
        raise UnsupportedError(
            f"input '{name}' is not a tensor of floats; supported: float tensors"
        )
    if not kind.tensor_type.HasField("shape"):
        raise UnsupportedError(
            f"input '{name}' declares no shape; supported: a declared rank, open sizes included"
        )
    sizes = [_size(d, name) for d in kind.tensor_type.shape.dim]
    if len(sizes) < 2:
        raise UnsupportedError(
            f"input '{name}' has {len(sizes)} axes; supported: a batch axis and at least one more"
        )
    return name, sizes[0], tuple(sizes[1:])


def _size(dimension: onnx.TensorShapeProto.Dimension, name: str) -> int | None:
    if not dimension.HasField("dim_value"):
        return None
    size = int(dimension.dim_value)
    if not 1 <= size <= MAX_ELEMENTS:
        raise ValueError(
            f"input '{name}' has an axis of size {size}; accepted: 1 to {MAX_ELEMENTS}"
        )
    return size


def _nodes(graph: onnx.GraphProto, input_name: str) -> list[Node]:
    """Nodes with unique names: those without a name of their own are called op_index.

    A node may not have the name of the input or of an output that another node makes, because
    layers, inputs and outputs are looked up in one list of names.
    """
    given = Counter(node.name for node in graph.node)
    outputs = {value.name for value in graph.output}
    used = {name for name in given if name} | outputs | {input_name}
    nodes = []
    for index, proto in enumerate(graph.node):
        name = proto.name
        foreign = name == input_name or (name in outputs and name not in proto.output)
        if not name or given[name] > 1 or foreign:
            name = unique(f"{proto.op_type}_{index}", used)
            used.add(name)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        attributes = {a.name: a for a in proto.attribute}
        nodes.append(
            Node(name, proto.op_type, domain, list(proto.input), list(proto.output), attributes)
        )
    return nodes


def unique(name: str, used: Iterable[str]) -> str:
    """The name, with the first number behind it that makes it a new one if it is taken."""
    taken = set(used)
    if name not in taken:
        return name
    return next(n for n in (f"{name}_{i}" for i in range(1, len(taken) + 2)) if n not in taken)


def _connect(graph: Graph) -> None:
    """Sorts the nodes and records who makes and who reads each tensor."""
    sources = {graph.input_name, *graph.weights}
    producer: dict[str, Node] = {}
    for node in graph.nodes:
        if not any(node.outputs):
            raise node.error("it has no output")
        for name in filter(None, node.outputs):
            if name in producer or name in sources:
                raise node.error(f"its output '{name}' is made a second time")
            producer[name] = node
    known = sources | producer.keys()
    for node in graph.nodes:
        for name in filter(None, node.inputs):
            if name not in known:
                raise node.error(
                    f"it reads tensor '{name}', which no node makes and no weight holds"
                )
    if not graph.outputs or len(set(graph.outputs)) != len(graph.outputs):
        raise ValueError(f"the model declares outputs {graph.outputs}; accepted: one or more names")
    for name in graph.outputs:
        if name not in known:
            raise ValueError(f"output '{name}' is made by no node")
    graph.nodes = _sorted(graph.nodes, sources)
    for index, node in enumerate(graph.nodes):
        for name in filter(None, node.outputs):
            graph.producer[name] = index
        for name in filter(None, node.inputs):
            graph.consumers.setdefault(name, []).append(index)


def _sorted(nodes: list[Node], sources: Iterable[str]) -> list[Node]:
    waiting = {id(node): len({n for n in node.inputs if n}) for node in nodes}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in {n for n in node.inputs if n}:
            readers.setdefault(name, []).append(node)
    order = [node for node in nodes if waiting[id(node)] == 0]
    ready = list(sources)
    taken = 0
    while ready or taken < len(order):
        if not ready:
            ready = [n for n in order[taken].outputs if n]
            taken += 1
        for name in ready:
            for node in readers.get(name, ()):
                waiting[id(node)] -= 1
                if waiting[id(node)] == 0:
                    order.append(node)
        ready = []
    if len(order) < len(nodes):
        names = [node.name for node in nodes if waiting[id(node)] > 0]
        raise ValueError(f"the graph has a cycle through node '{names[0]}' ({len(names)} nodes)")
    return order
