"""What the layers of a torch module are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


def layer_names(graph: torch.fx.Graph, module: torch.nn.Module) -> dict[torch.fx.Node, str]:
    """A unique name for every operator of the graph, in order.

    The operator of a module without submodules has the module's path, such as "layer1.0.conv1"; if
    there are several, the last has it and the others the operator's name behind it. Operators that
    a module calls itself are named by its path and the operator: "layer1.0.add", "flatten". The
    second use of a name is "name#2".
    """
    nodes = [node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")]
    modules = dict(module.named_modules(remove_duplicate=False))
    last = {_caller(node)[0]: node for node in nodes}
    taken: set[str] = set()
    names = {}
    for node in nodes:
        key, path = _caller(node)
        called = modules.get(path) if path else None
        leaf = called is not None and next(called.children(), None) is None
        own = leaf and last[key] is node
        names[node] = unique(path if own else f"{path}.{_operator(node)}".lstrip("."), taken)
        taken.add(names[node])
    return names


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, or the first of name#2, name#3, ... that is free."""
    used = set(taken)
    count, result = 1, name
    while result in used:
        count += 1
        result = f"{name}#{count}"
    return result


def _caller(node: torch.fx.Node) -> tuple[str, str]:
    """The call of the innermost module that the operator stands in, and that module's path."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {"": ("", None)}
    key = list(stack)[-1]
    return key, str(stack[key][0])


def _operator(node: torch.fx.Node) -> str:
    name = getattr(node.target, "_schema", None)
    text = str(name.name) if name is not None else str(getattr(node.target, "__name__", node.name))
    return text.rpartition("::")[2].rstrip("_")
