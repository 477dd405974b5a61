"""Every linear layer under every rule against the float64 definition.

Two measures hold at once. Elementwise, the error is below the bound that rounding alone allows
(``oracle.relevance_bound``, computed from absolute values). And it is below 1e-5 of the largest
relevance, because ``layer_data`` puts relevance only where dividing by the output is well
conditioned. A bound as large as the signal would make the first measure empty and is an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from cases import DENSE, LAYERS, RULES, SIGNS, LayerCase, LayerData, layer_data
from engine import FRONTS, layer_plan, run_plan
from relprop import _core

Array = npt.NDArray[Any]

RELATIVE = 1e-5

# (sign of the input, what stands in front of the layer, what stands behind it)
SETTINGS = [
    ("nonnegative", "clip", "tanh"),
    ("sparse", "relu", "none"),
    ("sparse", "relu", "tanh"),
    ("signed", "none", "none"),
    ("signed", "none", "tanh"),
    ("negative", "none", "none"),
]


def exact_layer(case: LayerCase, data: LayerData) -> oracle.Linear:
    bias = None if data.bias is None else data.bias.astype(np.float64)
    return case.oracle(data.weight.astype(np.float64), bias)


def with_bias(rule: oracle.Rule, absorb: bool) -> oracle.Rule:
    return oracle.Rule(**{**vars(rule), "absorb_bias": absorb})


def admitted(x: Array, front: str) -> Array:
    """What the layer in front would let through unchanged."""
    return np.maximum(x, np.float32(FRONTS["clip"][1])) if front == "clip" else x


def assert_close(actual: Array, expected: Array, bound: Array) -> None:
    assert actual.shape == expected.shape
    signal = np.abs(expected).max()
    error = np.abs(actual - expected)
    assert bound.max() <= signal, "the bound says nothing: choose other data"
    assert (error <= bound).all(), f"{(error / np.maximum(bound, 1e-300)).max():.3g} x the bound"
    assert error.max() <= RELATIVE * signal, f"{error.max() / signal:.3g} of the largest value"


def check_relevance(
    case: LayerCase, data: LayerData, rule: oracle.Rule, front: str, back: str, **options: Any
) -> None:
    layer = exact_layer(case, data)
    x = admitted(data.x, front)
    plan = layer_plan(case, data.weight, data.bias, rule, front=front, back=back, **options)
    actual = run_plan(plan, x, data.relevance)
    x64, r64 = x.astype(np.float64), data.relevance.astype(np.float64)
    expected = layer.relevance(x64, r64, rule)
    if not expected.any():  # for instance z+ with one weight, which is negative
        assert not actual.any()
        return
    assert_close(actual, expected, oracle.relevance_bound(layer, x64, r64, rule))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_relevance(case: LayerCase, name: str) -> None:
    for sign, front, back in SETTINGS:
        for bias in ("absorb", "ignore", "none"):
            data = layer_data(case, sign, bias != "none")
            check_relevance(case, data, with_bias(RULES[name], bias != "ignore"), front, back)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("case", DENSE, ids=lambda case: case.id)
def test_relevance_of_many_rows(case: LayerCase, name: str) -> None:
    """Compiled for batches, dense layers take other ways; 70 rows fill no tile."""
    for sign, front, back in SETTINGS:
        data = layer_data(case, sign, bias=True, batch=70)
        for isa in _core.available_isas():
            check_relevance(case, data, RULES[name], front, back, samples=64, isa=isa)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_forward_and_gradient(case: LayerCase) -> None:
    for sign, front, _ in SETTINGS:
        data = layer_data(case, sign, bias=True)
        layer, x = exact_layer(case, data), admitted(data.x, front)
        plan = layer_plan(
            case, data.weight, data.bias, oracle.Rule("gradient"), front=front, back="none"
        )
        x64, g64 = x.astype(np.float64), data.relevance.astype(np.float64)
        assert_close(plan.forward(x), layer.forward(x64), oracle.forward_bound(layer, x64))
        # The derivative of the layer in front is 0 where the ReLU holds back.
        open_ = (x > 0) if front == "relu" else (x > FRONTS["clip"][1]) if front == "clip" else 1
        expected = layer.gradient(x64, g64) * open_
        bound = oracle.gradient_bound(layer, x64, g64) * open_
        assert_close(run_plan(plan, x, data.relevance), expected, bound)


@pytest.mark.parametrize("bounds", ["per_channel", "per_value"])
def test_z_box_bounds_broadcast(bounds: str, rng: np.random.Generator) -> None:
    for case in LAYERS:
        if case.kind == "dense" and bounds == "per_channel":
            continue
        shape = (case.inputs,) if bounds == "per_channel" else case.input_shape
        low = rng.uniform(-6, -5, shape).astype(np.float32)
        high = rng.uniform(5, 6, shape).astype(np.float32)
        data = layer_data(case, "signed", bias=True)
        check_relevance(case, data, oracle.Rule("z_box", low=low, high=high), "none", "none")


@st.composite
def conv_cases(draw: Any) -> LayerCase:
    """Any geometry that leaves at least one output position."""
    small = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    kernel = draw(st.tuples(small, small))
    dilation = draw(st.tuples(small, small))
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    begin, end = draw(pads), draw(pads)
    size = tuple(
        draw(st.integers(max(1, (kernel[a] - 1) * dilation[a] + 1 - begin[a] - end[a]), 12))
        for a in (0, 1)
    )
    return LayerCase(
        "drawn",
        "conv",
        groups * draw(st.integers(1, 9)),
        groups * draw(st.integers(1, 9)),
        size,
        kernel,
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        dilation=dilation,
        pad_begin=begin,
        pad_end=end,
        groups=groups,
    )


@st.composite
def transposed_cases(draw: Any) -> LayerCase:
    small = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    stride = draw(st.tuples(small, small))
    kernel = draw(st.tuples(small, small))
    dilation = draw(st.tuples(small, small))
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    extra = tuple(draw(st.integers(0, max(stride[a], dilation[a]) - 1)) for a in (0, 1))
    full = [(size[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
    begin = tuple(draw(st.integers(0, min(2, (full[a] - 1) // 2))) for a in (0, 1))
    end = tuple(draw(st.integers(0, min(2, (full[a] - 1) // 2))) for a in (0, 1))
    return LayerCase(
        "drawn",
        "conv_transpose",
        groups * draw(st.integers(1, 9)),
        groups * draw(st.integers(1, 9)),
        size,
        kernel,
        stride=stride,
        dilation=dilation,
        pad_begin=begin,
        pad_end=end,
        output_padding=extra,
        groups=groups,
    )


def dense_cases() -> st.SearchStrategy[LayerCase]:
    return st.builds(
        lambda inputs, outputs: LayerCase("drawn", "dense", inputs, outputs),
        st.integers(1, 200),
        st.integers(1, 200),
    )


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    case=st.one_of(conv_cases(), transposed_cases(), dense_cases()),
    name=st.sampled_from(sorted(RULES)),
    setting=st.sampled_from(SETTINGS),
    bias=st.sampled_from(["absorb", "ignore", "none"]),
    seed=st.integers(0, 2**16),
)
def test_drawn_shapes(
    case: LayerCase, name: str, setting: tuple[str, str, str], bias: str, seed: int
) -> None:
    sign, front, back = setting
    data = layer_data(case, sign, bias != "none", seed, batch=1 + seed % 3)
    rule = with_bias(RULES[name], bias != "ignore")
    if rule.kind == "gamma":  # within rounding of z = 0 the rule itself has no definite answer
        keep_clear_of_zero(case, data, rule, front)
    if not data.relevance.any():
        return
    check_relevance(case, data, rule, front, back)


def keep_clear_of_zero(case: LayerCase, data: LayerData, rule: oracle.Rule, front: str) -> None:
    layer, x = exact_layer(case, data), admitted(data.x, front).astype(np.float64)
    z = layer.forward(x) if rule.absorb_bias else layer.apply(layer.weight, x)
    size = layer.apply(np.abs(layer.weight), np.abs(x)) + 1e-30
    data.relevance[np.abs(z) < size / 100] = 0


def test_all_signs_are_covered() -> None:
    assert {sign for sign, _, _ in SETTINGS} == set(SIGNS)


def dense_layer(
    weight: Any, bias: Any, x: Any, r: Any, rule: oracle.Rule, **more: Any
) -> tuple[Array, Array]:
    """Relevance by relprop and by definition of a small dense layer."""
    arrays = [np.asarray(a, np.float32) for a in (weight, bias, x, r)]
    case = LayerCase("edge", "dense", arrays[0].shape[1], arrays[0].shape[0])
    plan = layer_plan(case, arrays[0], arrays[1], rule, **more)
    exact = [a.astype(np.float64) for a in arrays]
    expected = oracle.Dense(exact[0], exact[1]).relevance(exact[2], exact[3], rule)
    return run_plan(plan, arrays[2], arrays[3]), expected


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("name", RULES)
def test_zero_denominators(name: str, zero: float) -> None:
    """At d = ±0 the stabilizer adds; numbers are powers of two, so the results are exact."""
    rule = with_bias(RULES[name], True)
    rule = oracle.Rule(**{**vars(rule), "stabilizer": 2.0**-10, "low": -1.0, "high": 1.0})
    weight = [[1, -1], [zero, zero], [1, 1], [-1, -1], [-1, zero]]
    x = [[1, 1], [zero, zero], [-1, -1], [1, zero], [zero, -2]]
    r = np.full((5, 5), 2.0)
    actual, expected = dense_layer(weight, [zero] * 5, x, r, rule)
    assert np.isfinite(actual).all()
    assert np.allclose(actual, expected, rtol=2**-20, atol=0)


def test_relevance_vanishes_where_gamma_has_no_sign() -> None:
    rule = oracle.Rule("gamma")
    actual, expected = dense_layer([[1, -1]], [0], [[3, 3]], [[5]], rule)
    assert not expected.any()
    assert not actual.any()


@pytest.mark.parametrize("name", RULES)
def test_an_empty_batch_is_fine(name: str) -> None:
    for case in LAYERS[::7]:
        data = layer_data(case, "signed", bias=True)
        plan = layer_plan(case, data.weight, data.bias, RULES[name])
        assert run_plan(plan, data.x[:0], data.relevance[:0]).shape == (0, *case.input_shape)
        assert plan.forward(data.x[:0]).shape == (0, *data.relevance.shape[1:])
