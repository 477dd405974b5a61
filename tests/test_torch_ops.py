"""relprop.torch_ops inside torch.compile, without a graph break, as relprop.functional outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import relprop as rp

torch = pytest.importorskip("torch", reason="torch is not installed")

from relprop import torch_ops  # noqa: E402

BOUNDS = np.linspace(-6, -4, 5, dtype=np.float32)[:, None, None]
RULES = [rp.AlphaBeta(2, 1), rp.Gamma(0.5, stabilizer=1e-3), rp.ZBox(BOUNDS, 6.0)]


RULES_MADE_INSIDE = [
    lambda: rp.Epsilon(0.1),
    lambda: rp.AlphaBeta(3, 2, stabilizer=0.01, bias="ignore"),
    lambda: rp.Gamma(gamma=2.0),
    lambda: rp.Reweighted(1.5, 0.5),
]


def tensors(*shapes: tuple[int, ...]) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def chain(f: Any, rule: Any) -> Callable[..., Any]:
    """Operators of both kinds between torch's own."""

    def run(x: Any, w: Any, b: Any, v: Any, r: Any) -> tuple[Any, ...]:
        y = f.conv2d(x * 2, w, b, 2, (1, 0), 1)
        s = f.dense_relevance(y.flatten(1).relu(), v, None, r, rp.Epsilon(0.1))
        s = s.reshape(y.shape) + f.dense_gradient(y.flatten(1), v, None, r).reshape(y.shape)
        relevance = f.conv2d_relevance(x * 2, w, b, s, rule, 2, (1, 0))
        gradient = f.conv2d_gradient(x, w, b, s, 2, (1, 0))
        return f.dense(y.flatten(1), v), relevance, gradient

    return run


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_compiled_operators_are_the_functions(rule: Any, backend: str) -> None:
    arguments = tensors((2, 5, 7, 6), (4, 5, 3, 2), (4,), (3, 48), (2, 3))
    torch.compiler.reset()
    compiled = torch.compile(chain(torch_ops, rule), fullgraph=True, backend=backend)
    expected = chain(rp.functional, rule)(*arguments)
    for actual, value in zip(compiled(*arguments), expected, strict=True):
        assert torch.equal(actual, value)


def test_operators_are_registered_with_shapes() -> None:
    x, w, b, r = tensors((2, 6, 5, 5), (4, 3, 3, 3), (4,), (2, 4, 3, 3))
    geometry = ([2, 2], [1, 1], [1, 1], 2)
    for check in (
        ("conv2d", (x, w, b, *geometry)),
        ("conv2d_gradient", (x, w, b, r, *geometry)),
        ("dense", (r.flatten(1), x.reshape(-1)[:72].reshape(2, 36), None)),
    ):
        name, arguments = check
        operator = getattr(torch.ops.relprop, name).default
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("made", RULES_MADE_INSIDE)
def test_rules_made_inside_a_compiled_function_keep_their_parameters(made: Any) -> None:
    x, w, r = tensors((2, 9), (4, 9), (2, 4))
    torch.compiler.reset()
    inside = lambda x, w, r: torch_ops.dense_relevance(x, w, None, r, made())  # noqa: E731
    compiled = torch.compile(inside, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, w, r), rp.functional.dense_relevance(x, w, None, r, made()))


def test_what_is_no_rule_is_refused() -> None:
    x, w, r = tensors((2, 3), (4, 3), (2, 4))
    with pytest.raises(TypeError, match="rule is 'epsilon'"):
        torch_ops.dense_relevance(x, w, None, r, "epsilon")
