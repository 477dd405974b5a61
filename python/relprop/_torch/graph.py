"""A torch module as a list of calls of ATen operators, traced by torch.export."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from relprop._core import UnsupportedError
from relprop._torch.names import layer_names

# The module is traced with this many samples. No sample is computed, so it may be any number; a
# prime that is no usual size of an axis shows where a shape mixes the samples of a batch.
BATCH = 13


@dataclass(frozen=True)
class Call:
    """One operator of the traced graph, its arguments by the names that ATen gives them."""

    node: torch.fx.Node
    name: str
    op: str
    arguments: dict[str, Any]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"node '{self.name}' ({self.op})"

    def error(self, message: str) -> ValueError:
        """A mistake in the module."""
        return ValueError(f"{self.label}: {message}")

    def unsupported(self, message: str) -> UnsupportedError:
        """Something that relprop does not do."""
        return UnsupportedError(f"{self.label}: {message}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's shape with the batch."""
        return tuple(int(size) for size in self.node.meta["val"].shape)

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]


@dataclass
class Graph:
    """The calls in order, the tensors that are known, and the outputs by name."""

    calls: dict[torch.fx.Node, Call]
    constants: dict[torch.fx.Node, torch.Tensor]
    input: torch.fx.Node
    sample_shape: tuple[int, ...]
    outputs: dict[str, torch.fx.Node]

    def find(self, name: str) -> torch.fx.Node:
        """The node of an output or layer.

        Raises:
            ValueError: there is none; the message lists near names.
        """
        if name in self.outputs:
            return self.outputs[name]
        for call in self.calls.values():
            if call.name == name:
                return call.node
        known = [*self.outputs, *(call.name for call in self.calls.values())]
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        raise ValueError(
            f"no output or layer is called '{name}'; near names: "
            f"{', '.join(map(repr, near or known[:5]))}"
        )


def trace(module: torch.nn.Module, example: torch.Tensor) -> Graph:
    """The graph of a module for samples like those of example (N, ...).

    Raises:
        UnsupportedError: torch cannot trace it, or it has another input than one tensor of floats.
        ImportError: torch is too old.
    """
    _check_version(str(torch.__version__))
    samples = example.new_zeros((BATCH, *example.shape[1:]))
    with torch.no_grad():
        try:
            program = torch.export.export(module, (samples,), strict=False)
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise UnsupportedError(
                f"torch.export cannot trace {type(module).__name__} for samples of shape "
                f"{tuple(example.shape[1:])}: {type(error).__name__}: {reason}"
            ) from error
    constants, source = _inputs(program)
    _order_mutations(program.graph)
    names = layer_names(program.graph, module)
    return Graph(
        calls={node: _call(node, names[node]) for node in names},
        constants=constants,
        input=source,
        sample_shape=tuple(example.shape[1:]),
        outputs=_outputs(program),
    )


def _check_version(version: str) -> None:
    """Earlier exports replace operators by others, which have no handlers here."""
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < (2, 6):
        raise ImportError(f"torch is {version}; from_torch needs 2.6 or newer")


def _inputs(program: Any) -> tuple[dict[torch.fx.Node, torch.Tensor], torch.fx.Node]:
    """Parameters, buffers and constants by node, shared with the module; and the input's node."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    known = {**program.constants, **program.state_dict}
    constants, sources = {}, []
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            sources.append(node)
        elif isinstance(known.get(spec.target), torch.Tensor):
            constants[node] = known[spec.target].detach()
    if len(sources) != 1:
        raise UnsupportedError(f"the module has {len(sources)} inputs; supported: one tensor")
    return constants, sources[0]


def _outputs(program: Any) -> dict[str, torch.fx.Node]:
    """Names of the outputs: "output" for the only one, "output.0", "output.out" otherwise."""
    *_, last = program.graph.nodes
    specs = program.graph_signature.output_specs
    values = [
        v for v, s in zip(last.args[0], specs, strict=True) if s.kind == OutputKind.USER_OUTPUT
    ]
    outputs = {}
    for path, node in pytree.tree_flatten_with_path(
        pytree.tree_unflatten(values, program.call_spec.out_spec)
    )[0]:
        keys = (getattr(k, "key", getattr(k, "idx", getattr(k, "name", k))) for k in path)
        if isinstance(node, torch.fx.Node):
            outputs[".".join(["output", *map(str, keys)])] = node
    if not outputs:
        raise UnsupportedError("the module returns no tensor; supported: one or more")
    return outputs


def _call(node: torch.fx.Node, name: str) -> Call:
    if node.op != "call_function":
        raise UnsupportedError(f"node '{name}' ({node.op}); supported: operators")
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        op = getattr(node.target, "__name__", str(node.target))
        return Call(node, name, op, {f"argument {i}": a for i, a in enumerate(node.args)})
    values = dict(zip((a.name for a in schema.arguments), node.args, strict=False))
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return Call(node, name, operator_of(node), {**defaults, **values, **node.kwargs})


def operator_of(node: torch.fx.Node) -> str:
    """conv2d for aten.conv2d.padding, relu for aten.relu_.default."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target))
    namespace, _, op = str(schema.name).partition("::")
    return op.rstrip("_") if namespace == "aten" else f"{namespace}.{op}"


def _order_mutations(graph: torch.fx.Graph) -> None:
    """Lets what reads a tensor behind an in-place operator read that operator's result.

    Raises:
        UnsupportedError: another view of the changed tensor is read behind it.
    """
    position = {node: i for i, node in enumerate(graph.nodes)}
    root: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in list(graph.nodes):
        first = node.args[0] if node.args else None
        if not isinstance(first, torch.fx.Node):
            continue
        changes = _is_in_place(node)
        if changes or _is_view(node):
            root[node] = root.get(first, first)
        if not changes:
            continue
        _refuse_stale_views(node, first, root, position)
        for user in [user for user in first.users if position[user] > position[node]]:
            user.replace_input_with(first, node)


def _refuse_stale_views(
    node: torch.fx.Node,
    target: torch.fx.Node,
    root: dict[torch.fx.Node, torch.fx.Node],
    position: dict[torch.fx.Node, int],
) -> None:
    base = root[node]
    for other in [base, *(n for n, r in root.items() if r is base)]:
        stale = other not in (node, target) and position[other] < position[node]
        if stale and any(position[user] > position[node] for user in other.users):
            raise UnsupportedError(
                f"node '{node.name}' ({node.target}) changes a tensor in place of which the view "
                f"'{other.name}' is read later; supported: the operator that makes a new tensor"
            )


def _is_in_place(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable and operator_of(node) != "detach")


def _is_view(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return True
    # A dropout that does nothing returns its input; the schema does not say so.
    return bool(schema.arguments[0].alias_info) or "dropout" in schema.name


def nodes_of(argument: Any) -> Iterator[torch.fx.Node]:
    """The nodes in an argument, which may be a list."""
    if isinstance(argument, torch.fx.Node):
        yield argument
    elif isinstance(argument, Iterable) and not isinstance(argument, str):
        for part in argument:
            yield from nodes_of(part)
