"""Every instruction set against the definition and against every other, on whole layers.

Small integers make every product and sum exact in float32, whatever the order, so the results of
all instruction sets must be those of the definition bit for bit. Real-valued data compare within
the bound on rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
from cases import CONV, CONV_TRANSPOSE, LAYERS, PANEL, RULES, LayerCase, layer_data, signed_input
from engine import layer_plan, network_plan, run_plan, spread_plan
from oracle_layers import shares, stabilize
from relprop import _core
from synthetic import SYNTHETIC, sample_shape
from test_layers import admitted, exact_layer

Array = npt.NDArray[Any]

ISAS = _core.available_isas()
OF_ISA = {"amx": {"matrix"}}  # kernels that others have not
EXACT_LIMIT = 2.0**24  # integers up to here are float32 values

# (sign of the input, in front, behind): between them every forward and backward kernel runs.
SETTINGS = [("sparse", "relu", "none"), ("nonnegative", "clip", "tanh"), ("signed", "none", "tanh")]

# With ε = 1 the stabilized denominators of integers are integers.
EXACT_RULES = {
    "epsilon": oracle.Rule("epsilon", stabilizer=1.0),
    "z_plus": oracle.Rule("z_plus", stabilizer=1.0),
    "alpha2_beta1": oracle.Rule("alpha_beta", alpha=2, beta=1, stabilizer=1.0),
    "gamma-1": oracle.Rule("gamma", gamma=1.0, stabilizer=1.0),
    "w_square": oracle.Rule("w_square", stabilizer=1.0),
    "flat": oracle.Rule("flat", stabilizer=1.0),
    "z_box": oracle.Rule("z_box", low=-2.0, high=3.0, stabilizer=1.0),
}


def integer_input(case: LayerCase, sign: str, rng: np.random.Generator) -> Array:
    """In -2 to 2; nonnegative ones without zeros."""
    x = np.clip(np.rint(signed_input((2, *case.input_shape), sign, rng)), -2, 2)
    return np.maximum(x, 1) if sign == "nonnegative" else x


def integer_layer(case: LayerCase, rng: np.random.Generator) -> oracle.Linear:
    """Weights in {-1, 0, 1}, few enough non-zero ones that denominators stay small."""
    fan_in = np.prod(case.weight_shape[1:])
    density = min(0.7, 12 / fan_in)
    weight = rng.integers(0, 2, case.weight_shape) * 2.0 - 1
    weight *= rng.random(case.weight_shape) < density
    return case.oracle(weight, rng.integers(-2, 3, case.outputs).astype(np.float64))


def divisible_start(layer: oracle.Linear, x: Array, rule: oracle.Rule, rng: Any) -> Array:
    """Relevance that every denominator of the rule divides: a small multiple of their product."""
    z = layer.forward(x)
    r = rng.integers(-2, 3, z.shape).astype(np.float64)
    for share in shares(layer, x, np.ones_like(z), rule):
        if share.r.any() or rule.kind == "alpha_beta":
            d = np.abs(stabilize(share.denominator(layer), share.epsilon))
            r = r * np.where(share.r != 0, np.broadcast_to(d, z.shape), 1)
    return r


def assert_exact_in_float32(layer: oracle.Linear, x: Array, r: Array, rule: oracle.Rule) -> None:
    """No partial sum of the rule can leave the integers that float32 holds."""
    largest = np.abs(r).max()
    for share in shares(layer, x, r, rule):
        s = np.abs(share.r / stabilize(share.denominator(layer), share.epsilon))
        assert (s == np.rint(s)).all()
        for w, part in share.pairs:
            largest = max(largest, layer.apply(np.abs(w), np.abs(part)).max())
            sums = layer.adjoint(np.abs(w), s, x)
            largest = max(largest, (np.maximum(np.abs(part), 1) * sums).max())
    assert 0 < 4 * largest < EXACT_LIMIT


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", EXACT_RULES)
def test_integers_are_exact(name: str, isa: str) -> None:
    rule = EXACT_RULES[name]
    for case in LAYERS:
        rng = np.random.default_rng(list(case.id.encode()))
        layer = integer_layer(case, rng)
        weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
        for sign, front, back in SETTINGS:
            x = integer_input(case, sign, rng)
            r = divisible_start(layer, x, rule, rng)
            if not r.any():
                continue
            assert_exact_in_float32(layer, x, r, rule)
            plan = layer_plan(case, weight, bias, rule, front=front, back=back, isa=isa)
            actual = run_plan(plan, x.astype(np.float32), r.astype(np.float32))
            expected = layer.relevance(x, r, rule)
            assert np.array_equal(actual, expected), (case.id, sign, front, back)


@pytest.mark.parametrize("isa", ISAS)
def test_integer_products_are_exact(isa: str) -> None:
    """z = W x + b and Wᵀ s."""
    for case in LAYERS:
        rng = np.random.default_rng(list(case.id.encode()))
        layer = integer_layer(case, rng)
        weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
        for sign in ("sparse", "signed"):
            x = integer_input(case, sign, rng)
            z = layer.forward(x)
            s = rng.integers(-3, 4, z.shape).astype(np.float64)
            plan = layer_plan(case, weight, bias, oracle.Rule("gradient"), isa=isa)
            assert np.array_equal(plan.forward(x.astype(np.float32)), z)
            actual = run_plan(plan, x.astype(np.float32), s.astype(np.float32))
            assert np.array_equal(actual, layer.gradient(x, s))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", EXACT_RULES)
def test_dense_relevance_is_exact(name: str, isa: str) -> None:
    """Of every output of a layer; behind a stride that is what the plan makes phases for."""
    rule, kernels = EXACT_RULES[name], set()
    for case in (*PANEL, *CONV_TRANSPOSE):
        rng = np.random.default_rng(list(case.id.encode()))
        layer = integer_layer(case, rng)
        layer.bias[:] = 0
        weight = layer.weight.astype(np.float32)
        for sign, front in (("sparse", "relu"), ("signed", "none")):
            x = integer_input(case, sign, rng)[:1]
            r = divisible_start(layer, x, rule, rng)
            assert r.any()
            plan = spread_plan(case, weight, rule, r[0].astype(np.float32), front=front, isa=isa)
            actual = run_plan(plan, x.astype(np.float32), np.ones((1, 1), np.float32))
            assert np.array_equal(actual, layer.relevance(x, r, rule)), (case.id, sign)
            (info,) = (info for info in plan.layers if info["name"] == "layer")
            kernels.add(info["backward"].split(" ")[0])
    assert kernels >= {"phase"} | OF_ISA.get(isa, set())


@pytest.mark.parametrize("name", RULES)
def test_instruction_sets_agree(name: str) -> None:
    """Two results that are both within the bound differ by twice the bound at most."""
    if len(ISAS) == 1:
        pytest.skip(f"only {ISAS[0]} can run here")
    for case in LAYERS:
        for sign, front, back in SETTINGS:
            data = layer_data(case, sign, bias=True)
            layer, x = exact_layer(case, data), admitted(data.x, front)
            arrays = x.astype(np.float64), data.relevance.astype(np.float64)
            bound = 2 * oracle.relevance_bound(layer, *arrays, RULES[name])
            results = {}
            for isa in ISAS:
                plan = layer_plan(
                    case, data.weight, data.bias, RULES[name], front=front, back=back, isa=isa
                )
                results[isa] = run_plan(plan, x, data.relevance)
            for i, first in enumerate(ISAS):
                for second in ISAS[i + 1 :]:
                    error = np.abs(results[first] - results[second])
                    assert (error <= bound).all(), (case.id, sign, first, second)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("network", SYNTHETIC)
def test_networks_on_every_instruction_set(
    network: str, isa: str, rng: np.random.Generator
) -> None:
    """z+ has no cancellation in a network of ReLUs, so float32 rounding does not grow."""
    model = SYNTHETIC[network](True)
    rule = oracle.Rule("z_plus")
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    _, plan = network_plan(model, rule, isa=isa)
    relevance, output, _, _ = plan.relevance(x, want_output=True)
    exact = oracle.Network(model)
    expected = exact.explain(x, largest, rule)
    assert np.abs(output - expected.output).max() <= 1e-5 * np.abs(expected.output).max()
    error = np.abs(relevance[:, 0] - expected.relevance)
    assert error.max() <= 1e-4 * np.abs(expected.relevance).max()


def largest(y: Array) -> Array:
    return np.where(np.arange(y.shape[1]) == y.argmax(1)[:, None], y, 0)


@pytest.mark.parametrize("isa", ISAS)
def test_the_cases_reach_every_kernel(isa: str) -> None:
    """Otherwise the comparisons above would say nothing about the one that is left out."""
    forward, backward = set(), set()
    for case in LAYERS:
        weight = layer_data(case, "signed", bias=False).weight
        for _, front, back in SETTINGS:
            plan = layer_plan(
                case, weight, None, RULES["alpha2_beta1"], front=front, back=back, isa=isa
            )
            (layer,) = (info for info in plan.layers if info["name"] == "layer")
            forward.add(layer["forward"].split(" ")[0])
            backward.add(layer["backward"].split(" ")[0])
    everything = {"zero-skipping", "sign-partitioned", "dot-product", "depthwise", "phase"}
    assert forward == everything | OF_ISA.get(isa, set())
    # Phases: see test_dense_relevance_is_exact.
    assert backward == everything - {"phase"} | {"scattered"}


def test_the_forced_instruction_set_is_the_one_that_runs() -> None:
    case = CONV[0]
    data = layer_data(case, "signed", bias=False)
    for isa in ISAS:
        assert layer_plan(case, data.weight, None, RULES["flat"], isa=isa).isa == isa
