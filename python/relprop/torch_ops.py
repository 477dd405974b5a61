"""`relprop.functional` as torch operators, which torch.compile takes without a graph break.

Importing this module registers dense, dense_relevance, dense_gradient, conv2d, conv2d_relevance and
conv2d_gradient under ``torch.ops.relprop``; the functions here have the arguments of those of
`relprop.functional` and call them::

    from relprop import torch_ops

    @torch.compile(fullgraph=True)
    def step(x, w, b, r):
        return torch_ops.dense_relevance(x.relu(), w, b, r, rule)

Tensors are float32 on the CPU. The operators have no derivative. Inside a compiled function a rule
is a constant; a ZBox has to be made outside of it.
"""

# What torch.library and torch.compiler wrap has no types.
# mypy: disable-error-code="no-any-return, untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from relprop import functional, rules
from relprop.composites import check_rule
from relprop.rules import Rule

__all__ = [
    "conv2d",
    "conv2d_gradient",
    "conv2d_relevance",
    "dense",
    "dense_gradient",
    "dense_relevance",
]

Pair = int | Sequence[int]

# Operators take numbers and tensors only: a rule goes in as its place here.
_RULES: list[Rule] = []
_FIELDS: dict[type[Rule], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (
        rules.Epsilon,
        rules.ZPlus,
        rules.AlphaBeta,
        rules.Gamma,
        rules.WSquare,
        rules.Flat,
        rules.Reweighted,
        rules.Pass,
        rules.Norm,
    )
}


def dense(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """`relprop.functional.dense` as an operator."""
    return _dense(x, w, b)


def dense_relevance(x: Tensor, w: Tensor, b: Tensor | None, r: Tensor, rule: Rule) -> Tensor:
    """`relprop.functional.dense_relevance` as an operator."""
    return _dense_relevance(x, w, b, r, _number_of(rule))


def dense_gradient(x: Tensor, w: Tensor, b: Tensor | None, r: Tensor) -> Tensor:
    """`relprop.functional.dense_gradient` as an operator."""
    return _dense_gradient(x, w, b, r)


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """`relprop.functional.conv2d` as an operator."""
    return _conv2d(x, w, b, _pair(stride), _pair(padding), _pair(dilation), groups)


def conv2d_relevance(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    r: Tensor,
    rule: Rule,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """`relprop.functional.conv2d_relevance` as an operator."""
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    return _conv2d_relevance(x, w, b, r, _number_of(rule), *geometry)


def conv2d_gradient(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    r: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """`relprop.functional.conv2d_gradient` as an operator."""
    return _conv2d_gradient(x, w, b, r, _pair(stride), _pair(padding), _pair(dilation), groups)


def _number_of(rule: Rule) -> int:
    # The compiler does not make dataclasses correctly, but it does read their fields: a rule made
    # inside a compiled function goes to Python field by field.
    names = _FIELDS.get(type(rule))
    if names is None:
        return _register(rule)
    return _register_fields(type(rule).__name__, [getattr(rule, name) for name in names])


@torch.compiler.assume_constant_result
def _register_fields(kind: str, values: list[Any]) -> int:
    names = next(names for rule, names in _FIELDS.items() if rule.__name__ == kind)
    return _register(getattr(rules, kind)(**dict(zip(names, values, strict=True))))


@torch.compiler.assume_constant_result
def _register(rule: Rule) -> int:
    check_rule(rule, "rule")
    if rule not in _RULES:
        _RULES.append(rule)
    return _RULES.index(rule)


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@torch.library.custom_op("relprop::dense", mutates_args=())
def _dense(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return functional.dense(x, w, b)


@torch.library.custom_op("relprop::dense_relevance", mutates_args=())
def _dense_relevance(x: Tensor, w: Tensor, b: Tensor | None, r: Tensor, rule: int) -> Tensor:
    return functional.dense_relevance(x, w, b, r, _RULES[rule])


@torch.library.custom_op("relprop::dense_gradient", mutates_args=())
def _dense_gradient(x: Tensor, w: Tensor, b: Tensor | None, r: Tensor) -> Tensor:
    return functional.dense_gradient(x, w, b, r)


@torch.library.custom_op("relprop::conv2d", mutates_args=())
def _conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    return functional.conv2d(x, w, b, stride, padding, dilation, groups)


@torch.library.custom_op("relprop::conv2d_relevance", mutates_args=())
def _conv2d_relevance(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    r: Tensor,
    rule: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    return functional.conv2d_relevance(x, w, b, r, _RULES[rule], stride, padding, dilation, groups)


@torch.library.custom_op("relprop::conv2d_gradient", mutates_args=())
def _conv2d_gradient(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    r: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    return functional.conv2d_gradient(x, w, b, r, stride, padding, dilation, groups)


@_dense.register_fake
def _dense_shape(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return x.new_empty((x.shape[0], w.shape[0]))


@_conv2d.register_fake
def _conv2d_shape(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    size = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    return x.new_empty((x.shape[0], w.shape[0], *size))


def _shape_of_x(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


for _operator in (_dense_relevance, _dense_gradient, _conv2d_relevance, _conv2d_gradient):
    _operator.register_fake(_shape_of_x)
