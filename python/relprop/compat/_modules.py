"""Torch modules as models, compiled at their first input and again when their weights change."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from relprop._cache import Cache
from relprop._core import UnsupportedError
from relprop.model import KEPT_SHAPES, Model, Network, from_torch


@dataclass
class _Compiled:
    weights: tuple[Any, ...]
    models: Cache[Model]


_COMPILED: WeakKeyDictionary[torch.nn.Module, _Compiled] = WeakKeyDictionary()
_LOCK = threading.Lock()


def compiled(module: Any, x: Any) -> Model:
    """The model of a module for inputs like x (N, ...).

    Kept as long as the module lives. Compiled again when a parameter or buffer was replaced or
    changed in place. What goes through ``.data``, and what is no tensor, such as a stride, is not
    noticed.

    Raises:
        TypeError, ValueError, UnsupportedError: as `relprop.from_torch`.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"model is of type {type(module).__name__}; accepted: a torch.nn.Module")
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"input is of type {type(x).__name__}; accepted: a float32 torch tensor")
    if module.training:
        raise ValueError(f"{type(module).__name__} is in training mode; accepted: model.eval()")
    weights = fingerprint(module)
    with _LOCK:
        known = _COMPILED.get(module)
        if known is None or known.weights != weights:
            known = _COMPILED[module] = _Compiled(weights, Cache(KEPT_SHAPES))
    return known.models.get(tuple(x.shape[1:]), lambda: from_torch(module, x))


def network_of(model: Model, x: torch.Tensor) -> Network:
    """The network that explains samples like x.

    Raises:
        UnsupportedError: it ends in a softmax, which the engine leaves out.
    """
    network = model.network(tuple(x.shape[1:]))
    for name, op, _, _ in network.nodes:
        if op == "softmax":
            raise UnsupportedError(
                f"layer '{name}' (softmax): supported: a model that returns logits"
            )
    return network


def owner(name: str, modules: dict[str, torch.nn.Module]) -> torch.nn.Module | None:
    """The module without children that a layer of a model comes from.

    None for an operator that a module with children calls itself, such as a sum.
    """
    path = name.partition("/")[0].partition("#")[0]
    while path and path not in modules:
        path = path.rpartition(".")[0]
    module = modules.get(path)
    return None if module is None or any(True for _ in module.children()) else module


def path_of(module: torch.nn.Module, modules: dict[str, torch.nn.Module], what: str) -> str:
    """The name of a submodule.

    Raises:
        ValueError: it is none.
    """
    for name, candidate in modules.items():
        if candidate is module:
            return name
    raise ValueError(f"{what} {type(module).__name__} is no submodule of the model")


def fingerprint(module: torch.nn.Module) -> tuple[Any, ...]:
    """Equal as long as no parameter or buffer was replaced or changed in place."""
    return tuple(
        (name, value.data_ptr(), value._version)
        for tensors in (module.named_parameters(), module.named_buffers())
        for name, value in tensors
    )
