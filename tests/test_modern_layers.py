"""Gather, resample, layer norm and products, each alone, against the oracle and against torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
from engine import engine_rule, run_plan
from oracle_ops import Gather, LayerNorm, Op, Product, Resample
from relprop import _core

Array = npt.NDArray[Any]

RELATIVE = 1e-5
CLEAR = 0.2  # denominators that rounding does not move by more than RELATIVE
NORM, PASS = oracle.Rule("norm"), oracle.Rule("pass")
RULES = {
    "norm": NORM,
    "stabilizer": oracle.Rule("norm", stabilizer=0.01),
    "ignore": oracle.Rule("norm", absorb_bias=False),
    "pass": PASS,
    "gradient": oracle.GRADIENT,
}


@dataclass
class Case:
    id: str
    shape: tuple[int, ...]
    op: Op
    build: Callable[[_core.Model], int]
    shared: bool = False  # relevance is divided by the output


def gather_case(name: str, shape: tuple[int, ...], move: Callable[[Array], Array]) -> Case:
    index = move(np.arange(np.prod(shape)).reshape(shape))
    flat = np.ascontiguousarray(index, np.int64).ravel()
    return Case(name, shape, Gather(index), lambda m: m.add_gather("op", 0, index.shape, flat))


def gather_cases() -> list[Case]:
    return [
        gather_case("permutation", (17, 5, 7), lambda i: i.transpose(1, 2, 0)),
        gather_case("shuffle", (6, 4, 3), lambda i: i.reshape(2, 3, 4, 3).swapaxes(0, 1)),
        gather_case("strides", (5, 9, 8), lambda i: i[::2, 1::3, ::-1]),
        gather_case("repetition", (17, 1, 1), lambda i: np.broadcast_to(i, (17, 4, 5))),
        gather_case("reflection", (3, 6), lambda i: np.pad(i, ((0, 0), (2, 3)), "reflect")),
        gather_case("vector", (9,), lambda i: i[[8, 0, 0, 3]]),
        gather_case("four axes", (2, 3, 4, 5), lambda i: i.transpose(3, 1, 0, 2)),
    ]


def resample_case(name: str, shape: tuple[int, ...], out: tuple[int, int], low: float) -> Case:
    rng = np.random.default_rng([*shape, *out])
    height, width = (1, shape[1]) if len(shape) == 2 else shape[1:]
    rows = rng.uniform(low, 1, (out[0], height)).astype(np.float32)
    columns = rng.uniform(low, 1, (out[1], width)).astype(np.float32)
    rows[:, 1::2] *= rng.integers(0, 2, (out[0], height // 2))
    rows = np.ones_like(rows) if len(shape) == 2 else rows
    op = Resample(rows.astype(np.float64), columns.astype(np.float64))
    return Case(name, shape, op, lambda m: m.add_resample("op", 0, rows, columns), shared=True)


def norm_case(shape: tuple[int, ...], axes: int, affine: bool) -> Case:
    size = int(np.prod(shape[-axes:]))
    rng = np.random.default_rng([*shape, axes])
    weight = rng.uniform(-1.5, 1.5, size).astype(np.float32)
    bias = rng.uniform(-0.5, 0.5, size).astype(np.float32)
    given = (weight, bias) if affine else (np.ones(size), np.zeros(size))
    op = LayerNorm(given[0].astype(np.float64), given[1].astype(np.float64), 1e-5)
    more: dict[str, Any] = {"weight": weight, "bias": bias} if affine else {}
    return Case(
        f"norm-{'x'.join(map(str, shape))}-{axes}-{affine}",
        shape,
        op,
        lambda m: m.add_layer_norm("op", 0, size, **more),
        shared=True,
    )


CASES = [
    *gather_cases(),
    resample_case("resize-up", (17, 4, 5), (9, 7), 0),
    resample_case("resize-down", (3, 8, 9), (3, 4), 0),
    resample_case("resize-1d", (5, 8), (1, 13), 0),
    resample_case("resize-signed", (16, 4, 5), (7, 9), -0.3),
    norm_case((17,), 1, True),
    norm_case((6, 7), 1, True),
    norm_case((5, 4, 33), 1, True),
    norm_case((3, 4, 5), 2, False),
    norm_case((3, 4, 5), 3, True),
]


def assert_close(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_alone(case: Case, name: str, isa: str, rng: np.random.Generator) -> None:
    rule = RULES[name]
    model = _core.Model(case.shape)
    model.add_output("output", case.build(model))
    plan = _core.Plan(model, [engine_rule(rule)] * 2, isa=isa)
    x = rng.standard_normal((3, *case.shape)).astype(np.float32)
    exact = x.astype(np.float64)
    y = case.op.forward(exact)
    assert_close(plan.forward(x), y)
    r = rng.uniform(0.5, 1.5, y.shape).astype(np.float32)
    if isinstance(case.op, LayerNorm) and not rule.absorb_bias:
        rows = case.op.rows(y) - case.op.bias
        r[np.abs(rows.reshape(y.shape)) < CLEAR] = 0
    elif case.shared and rule != oracle.GRADIENT:  # resampling has no other rule than Norm
        r[np.abs(y) < CLEAR] = 0
    back = case.op.gradient if rule == oracle.GRADIENT else case.op.relevance
    arguments = () if rule == oracle.GRADIENT else (rule,)
    assert_close(run_plan(plan, x, r), back([exact], y, r.astype(np.float64), *arguments)[0])


@pytest.mark.parametrize("name", ["norm", "pass", "gradient"])
@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("channels", [1, 17, 64])
def test_products(channels: int, gate: bool, name: str, rng: np.random.Generator) -> None:
    """tanh(x) sigmoid(x): whose relevance, and whose not."""
    rule, shape = RULES[name], (channels, 3, 5)
    model = _core.Model(shape)
    signal = model.add_activation("signal", 0, "tanh")
    other = model.add_activation("gate", 0, "sigmoid")
    model.add_output("output", model.add_product("op", signal, other, gate))
    plan = _core.Plan(model, [engine_rule(rule)] * 4)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    exact, op = x.astype(np.float64), Product(gate)
    xs = [np.tanh(exact), 1 / (1 + np.exp(-exact))]
    y = op.forward(*xs)
    r = rng.standard_normal(y.shape).astype(np.float32)
    assert_close(plan.forward(x), y)
    layers = plan.relevance(x, start=r[:, None], layers=[signal, other], n_threads=1)[2]
    if rule == oracle.GRADIENT:
        expected = op.gradient(xs, y, r.astype(np.float64))
    else:
        expected = op.relevance(xs, y, r.astype(np.float64), rule)
    for actual, part in zip(layers, expected, strict=True):
        assert_close(actual[:, 0], part)


def test_a_product_with_itself(rng: np.random.Generator) -> None:
    model = _core.Model((5,))
    model.add_output("output", model.add_product("square", 0, 0, False))
    x = rng.standard_normal((2, 5)).astype(np.float32)
    ones = np.ones_like(x)
    assert np.array_equal(run_plan(_core.Plan(model, [_core.Rule("pass")] * 2), x, ones), ones)
    slope = run_plan(_core.Plan(model, [_core.Rule("gradient")] * 2), x, ones)
    assert np.array_equal(slope, 2 * x)


def test_values_that_are_not_read_get_nothing() -> None:
    model = _core.Model((4,))
    model.add_output("output", model.add_gather("op", 0, (2,), np.array([2, 2])))
    plan = _core.Plan(model, [_core.Rule("pass")] * 2)
    x = np.arange(4, dtype=np.float32)[None]
    assert np.array_equal(plan.forward(x), [[2, 2]])
    assert np.array_equal(run_plan(plan, x, np.array([[1, 3]], np.float32)), [[0, 0, 4, 0]])


def test_layer_norm_is_torchs(rng: np.random.Generator) -> None:
    """The oracle's forward pass and gradient; constant rows too, whose deviation is eps alone."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = rng.standard_normal((3, 4, 6))
    x[0, 0] = 0.5
    weight, bias, g = (rng.standard_normal(shape) for shape in (6, 6, x.shape))
    variable = torch.from_numpy(x).requires_grad_()
    given = (torch.from_numpy(weight), torch.from_numpy(bias))
    y = torch.nn.functional.layer_norm(variable, (6,), *given, eps=1e-5)
    (expected,) = torch.autograd.grad(y, variable, torch.from_numpy(g))
    op = LayerNorm(weight, bias, 1e-5)
    assert np.allclose(op.forward(x), y.detach().numpy(), rtol=0, atol=1e-12)
    assert np.allclose(op.gradient([x], op.forward(x), g)[0], expected.numpy(), rtol=0, atol=1e-9)


def test_layer_norm_conserves(rng: np.random.Generator) -> None:
    """Norm without a bias hands on all that it gets, up to the stabilizer."""
    model = _core.Model((9, 8))
    model.add_output("output", model.add_layer_norm("op", 0, 8))
    plan = _core.Plan(model, [_core.Rule("norm", stabilizer=0)] * 2)
    x = rng.standard_normal((2, 9, 8)).astype(np.float32)
    r = plan.forward(x)
    sums = run_plan(plan, x, r).sum((1, 2), dtype=np.float64)
    assert np.allclose(sums, r.sum((1, 2), dtype=np.float64), rtol=0, atol=1e-5)
