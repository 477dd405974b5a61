"""Layers without a choice of rule: pools, sums, activations and what only moves values.

Each stands alone between the input and the output, with channels around the vector widths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracle
from engine import engine_rule, run_plan
from oracle_ops import (
    FUNCTIONS,
    AdaptiveAverage,
    Add,
    AveragePool,
    Concat,
    GlobalMax,
    LinearOp,
    MaxPool,
    Op,
    PadOp,
    Pool,
    Rearrange,
    clip,
    elu,
    gelu,
    leaky,
)
from relprop import _core

Array = npt.NDArray[Any]
Build = Callable[[_core.Model, int], int]

RELATIVE = 1e-5
CHANNELS = (1, 3, 16, 17, 33, 65)


@dataclass
class Case:
    id: str
    op: Op
    build: Build
    shape: tuple[int, ...]


def pool_cases() -> list[Case]:
    geometries = [
        # kernel, stride, dilation, begin, end, ceil, size
        ((2, 2), (2, 2), (1, 1), (0, 0), (0, 0), False, (6, 8)),
        ((3, 3), (2, 2), (1, 1), (0, 0), (0, 0), False, (7, 9)),
        ((3, 3), (2, 2), (1, 1), (1, 1), (1, 1), False, (8, 7)),
        ((3, 3), (2, 2), (1, 1), (0, 0), (0, 0), True, (8, 6)),
        ((2, 3), (3, 1), (1, 1), (0, 1), (1, 0), False, (7, 5)),
        ((2, 2), (1, 2), (2, 3), (1, 1), (1, 1), True, (6, 9)),
        ((3, 3), (2, 2), (1, 1), (1, 1), (1, 1), True, (6, 8)),
        ((1, 1), (3, 3), (1, 1), (0, 0), (0, 0), False, (7, 7)),
    ]
    cases = []
    for i, (*window, ceil, size) in enumerate(geometries):
        names = ("kernel", "stride", "dilation", "pad_begin", "pad_end")
        keywords = {**dict(zip(names, window, strict=True)), "ceil_mode": ceil}
        channels = CHANNELS[i % len(CHANNELS)]
        cases.append(
            Case(
                f"max-{i}",
                MaxPool(*window, ceil),
                lambda m, at, k=keywords: m.add_max_pool("op", at, **k),
                (channels, *size),
            )
        )
        for count in (False, True):
            more = {**keywords, "count_include_pad": count}
            cases.append(
                Case(
                    f"average-{i}-{'with' if count else 'without'}-pad",
                    AveragePool(*window, ceil, count),
                    lambda m, at, k=more: m.add_average_pool("op", at, **k),
                    (channels, *size),
                )
            )
    return cases


def other_cases() -> list[Case]:
    cases = [
        Case(
            f"adaptive-{rows}x{columns}-{channels}",
            AdaptiveAverage((rows, columns)),
            lambda m, at, o=(rows, columns): m.add_adaptive_average_pool("op", at, o),
            (channels, 7, 9),
        )
        for channels in (3, 17, 64)
        for rows, columns in [(1, 1), (2, 3), (7, 9)]
    ]
    cases.append(
        Case("global-max", GlobalMax(), lambda m, at: m.add_global_max_pool("op", at), (17, 5, 7))
    )
    cases.append(
        Case(
            "pad",
            PadOp([(0, 0), (0, 0), (1, 2), (0, 3)], 0.5),
            lambda m, at: m.add_pad("op", at, (0, 1, 0), (0, 2, 3), 0.5),
            (17, 4, 5),
        )
    )
    cases.append(
        Case(
            "crop-and-pad",
            PadOp([(0, 0), (1, -2), (-1, 2), (2, -1)], 0.0),
            lambda m, at: m.add_pad("op", at, (1, -1, 2), (-2, 2, -1)),
            (17, 4, 5),
        )
    )
    cases.append(
        Case(
            "reshape",
            Rearrange(lambda shape: (shape[0], 6, 35)),
            lambda m, at: m.add_reshape("op", at, (6, 35)),
            (3, 7, 10),
        )
    )
    return cases


def activation_cases() -> list[Case]:
    functions = {
        "relu": (FUNCTIONS["Relu"], 0, 0),
        "leaky_relu": (leaky(0.125), 0.125, 0),
        "clip": (clip(-0.5, 1.0), -0.5, 1.0),
        "elu": (elu(0.75), 0.75, 0),
        "silu": (FUNCTIONS["Swish"], 0, 0),
        "gelu": (gelu(False), 0, 0),
        "gelu_tanh": (gelu(True), 0, 0),
        "sigmoid": (FUNCTIONS["Sigmoid"], 0, 0),
        "tanh": (FUNCTIONS["Tanh"], 0, 0),
        "hard_sigmoid": (FUNCTIONS["HardSigmoid"], 0, 0),
        "hard_swish": (FUNCTIONS["HardSwish"], 0, 0),
        "softplus": (FUNCTIONS["Softplus"], 0, 0),
        "mish": (FUNCTIONS["Mish"], 0, 0),
    }
    return [
        Case(
            name,
            op,
            lambda m, at, n=name, a=a, b=b: m.add_activation("op", at, n, a, b),
            (17, 5, 7),
        )
        for name, (op, a, b) in functions.items()
    ]


CASES = [*pool_cases(), *other_cases(), *activation_cases()]


def plan_of(case: Case, rule: oracle.Rule) -> _core.Plan:
    model = _core.Model(case.shape)
    model.add_output("output", case.build(model, 0))
    return _core.Plan(model, [engine_rule(rule)] * len(model.nodes))


def assert_close(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


def clear_start(op: Op, xs: list[Array], y: Array, rng: np.random.Generator) -> Array:
    """Relevance where y is not small against what was summed up to it."""
    r = y * rng.uniform(0.5, 1.5, y.shape)
    if isinstance(op, Add | AveragePool | AdaptiveAverage):
        r[np.abs(y) < op.forward(*(np.abs(x) for x in xs)) / 50] = 0
    return r.astype(np.float32)


def check(case: Case, x: Array, rng: np.random.Generator) -> None:
    x64 = x.astype(np.float64)
    y = case.op.forward(x64)
    r = clear_start(case.op, [x64], y, rng)
    for rule in (oracle.Rule("norm"), oracle.Rule("norm", stabilizer=0.01), oracle.GRADIENT):
        plan = plan_of(case, rule)
        assert_close(plan.forward(x), y)
        back = case.op.gradient if rule == oracle.GRADIENT else case.op.relevance
        arguments = () if rule == oracle.GRADIENT else (rule,)
        assert_close(run_plan(plan, x, r), back([x64], y, r.astype(np.float64), *arguments)[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_forward_relevance_and_gradient(case: Case, rng: np.random.Generator) -> None:
    check(case, rng.standard_normal((3, *case.shape)).astype(np.float32), rng)


@st.composite
def drawn_pools(draw: Any) -> Case:
    pair = lambda low, high: draw(st.tuples(st.integers(low, high), st.integers(low, high)))  # noqa: E731
    kernel, stride, dilation = pair(1, 3), pair(1, 3), pair(1, 2)
    begin = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    end = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers((kernel[a] - 1) * dilation[a] + 1, 10)) for a in (0, 1))
    ceil, average = draw(st.booleans()), draw(st.booleans())
    keywords: dict[str, Any] = {"kernel": kernel, "stride": stride, "dilation": dilation}
    keywords |= {"pad_begin": begin, "pad_end": end, "ceil_mode": ceil}
    shape = (draw(st.integers(1, 20)), *size)
    if not average:
        op: Pool = MaxPool(kernel, stride, dilation, begin, end, ceil)
        return Case("drawn", op, lambda m, at: m.add_max_pool("op", at, **keywords), shape)
    count = draw(st.booleans())
    op = AveragePool(kernel, stride, dilation, begin, end, ceil, count)
    keywords["count_include_pad"] = count
    return Case("drawn", op, lambda m, at: m.add_average_pool("op", at, **keywords), shape)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(case=drawn_pools(), seed=st.integers(0, 2**16))
def test_drawn_pools(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *case.shape)).astype(np.float32)
    assume(np.isfinite(case.op.forward(x)).all())  # no window lies in the padding alone
    check(case, x, rng)


def test_the_first_of_equal_maxima_wins() -> None:
    x = np.array([[[[1, 2, 2], [2, 2, 0], [0, 2, 2]]]], np.float32)
    case = Case(
        "ties",
        MaxPool((2, 2), (1, 1), (1, 1), (0, 0), (0, 0), False),
        lambda m, at: m.add_max_pool("op", at, kernel=(2, 2)),
        (1, 3, 3),
    )
    actual = run_plan(plan_of(case, oracle.Rule("norm")), x, np.ones((1, 1, 2, 2), np.float32))
    # Windows in order are won by (0,1), (0,1), (1,0), (1,1).
    assert np.array_equal(actual[0, 0], [[0, 2, 0], [1, 1, 0], [0, 0, 0]])


def check_graph(
    shape: tuple[int, ...],
    build: Callable[[_core.Model], int],
    exact: Callable[[Array], tuple[list[Array], Op]],
    branches: list[Callable[[Array, Array], Array]],
    rng: np.random.Generator,
) -> None:
    """Several branches from one input into one op; branches map relevance back to the input."""
    model = _core.Model(shape)
    model.add_output("output", build(model))
    plan = _core.Plan(model, [_core.Rule("norm")] * len(model.nodes))
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    xs, op = exact(x.astype(np.float64))
    y = op.forward(*xs)
    r = clear_start(op, xs, y, rng)
    assert_close(plan.forward(x), y)
    parts = op.relevance(xs, y, r.astype(np.float64), oracle.Rule("norm"))
    expected = sum(back(x.astype(np.float64), p) for back, p in zip(branches, parts, strict=True))
    assert_close(run_plan(plan, x, r), expected)


def passed(x: Array, r: Array) -> Array:
    return r


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("count", [2, 3])
def test_sums(channels: int, count: int, rng: np.random.Generator) -> None:
    names = ["Relu", "Tanh", "Sigmoid"][:count]

    def build(model: _core.Model) -> int:
        return model.add_add("sum", [model.add_activation(name, 0, name.lower()) for name in names])

    def exact(x: Array) -> tuple[list[Array], Op]:
        return [FUNCTIONS[name].forward(x) for name in names], Add()

    check_graph((channels, 3, 5), build, exact, [passed] * count, rng)


@pytest.mark.parametrize("channels", CHANNELS)
def test_the_input_added_to_itself(channels: int, rng: np.random.Generator) -> None:
    def exact(x: Array) -> tuple[list[Array], Op]:
        return [x, x], Add()

    check_graph((channels, 3, 5), lambda m: m.add_add("sum", [0, 0]), exact, [passed] * 2, rng)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("channels", CHANNELS)
def test_concat(channels: int, axis: int, rng: np.random.Generator) -> None:
    def build(model: _core.Model) -> int:
        relu = model.add_activation("relu", 0, "relu")
        return model.add_concat("concat", [0, relu, 0], axis)

    def exact(x: Array) -> tuple[list[Array], Op]:
        return [x, np.maximum(x, 0), x], Concat(axis + 1)

    check_graph((channels, 3, 5), build, exact, [passed] * 3, rng)


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "alpha_beta", "gamma", "w_square", "flat"])
def test_a_batch_norm_alone_is_a_linear_layer(name: str, rng: np.random.Generator) -> None:
    scale = rng.uniform(-2, 2, 17).astype(np.float32)
    shift = rng.uniform(-0.3, 0.3, 17).astype(np.float32)
    model = _core.Model((17, 5, 3))
    model.add_output("output", model.add_batch_norm("norm", 0, scale, shift))
    rule = oracle.Rule(name, alpha=2, beta=1)
    plan = _core.Plan(model, [engine_rule(rule)] * 2)
    x = rng.standard_normal((2, 17, 5, 3)).astype(np.float32)
    op = LinearOp(oracle.Affine(scale.astype(np.float64), shift.astype(np.float64)), "Affine")
    y = op.forward(x.astype(np.float64))
    r = np.where(np.abs(y) > 0.3, y, 0).astype(np.float32)
    assert_close(plan.forward(x), y)
    expected = op.relevance([x.astype(np.float64)], y, r.astype(np.float64), rule)[0]
    assert_close(run_plan(plan, x, r), expected)


@pytest.mark.parametrize("shape", [(), (17,), (17, 5, 3)])
def test_constants(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Relevance passes a multiplication and an addition; the gradient is scaled."""
    scale = np.atleast_1d(rng.uniform(0.5, 2, shape)).astype(np.float32)
    shift = np.atleast_1d(rng.uniform(-1, 1, shape)).astype(np.float32)
    model = _core.Model((17, 5, 3))
    model.add_output("output", model.add_scale_shift("constant", 0, scale, shift))
    wide = lambda a: a.reshape(-1, 1, 1) if a.ndim == 1 else a  # noqa: E731
    x = rng.standard_normal((2, 17, 5, 3)).astype(np.float32)
    r = rng.standard_normal((2, 17, 5, 3)).astype(np.float32)
    plan = _core.Plan(model, [_core.Rule("pass")] * 2)
    assert_close(plan.forward(x), x * wide(scale.astype(np.float64)) + wide(shift))
    assert np.array_equal(run_plan(plan, x, r), r)
    plan = _core.Plan(model, [_core.Rule("gradient")] * 2)
    assert_close(run_plan(plan, x, r), r * wide(scale.astype(np.float64)))
