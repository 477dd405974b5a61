"""Identities that hold whatever the numbers: conservation, adjointness, rules that coincide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
from cases import LAYERS, RULES, SIGNS, LayerCase, layer_data
from engine import layer_plan, network_plan, run_plan
from oracle_bound import ROUNDINGS, gamma_n, lengths
from relprop import _core
from synthetic import SYNTHETIC, sample_shape
from test_layers import RELATIVE, exact_layer

Array = npt.NDArray[Any]


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_the_backward_product_is_the_adjoint(case: LayerCase, rng: np.random.Generator) -> None:
    """⟨W x, s⟩ = ⟨x, Wᵀ s⟩; each side is off by at most γ ⟨|W||x|, |s|⟩."""
    data = layer_data(case, "signed", bias=False)
    plan = layer_plan(case, data.weight, None, oracle.GRADIENT)
    s = rng.standard_normal(data.relevance.shape).astype(np.float32)
    left = np.vdot(plan.forward(data.x).astype(np.float64), s)
    right = np.vdot(data.x.astype(np.float64), run_plan(plan, data.x, s))
    layer, x = exact_layer(case, data), data.x.astype(np.float64)
    size = np.vdot(layer.apply(np.abs(layer.weight), np.abs(x)), np.abs(s))
    n, m = lengths(layer, x, s)
    bound = (gamma_n(n + ROUNDINGS) + gamma_n(m + ROUNDINGS)) * size
    assert abs(left - right) <= bound < max(abs(left), 1e-3 * size)


# Two rules that are one by definition; the bound on rounding is that of the second.
COINCIDE = {
    "alpha1_beta0-z_plus": (oracle.Rule("alpha_beta", alpha=1, beta=0), oracle.Rule("z_plus")),
    "gamma0-epsilon": (oracle.Rule("gamma", gamma=0.0), oracle.Rule("epsilon")),
    "norm-epsilon": (oracle.Rule("norm"), oracle.Rule("epsilon")),
}


@pytest.mark.parametrize("pair", COINCIDE)
def test_rules_coincide(pair: str) -> None:
    for case in LAYERS:
        for sign, front in [("signed", "none"), ("sparse", "relu")]:
            data = layer_data(case, sign, bias=True)
            first, second = (
                run_plan(
                    layer_plan(case, data.weight, data.bias, rule, front=front),
                    data.x,
                    data.relevance,
                )
                for rule in COINCIDE[pair]
            )
            exact = exact_layer(case, data), data.x.astype(float), data.relevance.astype(float)
            bound = 2 * oracle.relevance_bound(*exact, COINCIDE[pair][1])
            assert (np.abs(first - second) <= bound).all(), case.id


@pytest.mark.parametrize("network", ["plain", "fire"])
def test_lrp_without_bias_and_epsilon_is_gradient_times_input(
    network: str, rng: np.random.Generator
) -> None:
    """f is homogeneous where all is ReLU, pooling and bias-free; one class of four."""
    model = SYNTHETIC[network](False)
    x = rng.standard_normal((4, *sample_shape(model))).astype(np.float32)
    targets = np.arange(4, dtype=np.int64)[:, None]
    tiny = 1e-30
    rules = oracle.Rule("epsilon", stabilizer=tiny), oracle.Rule("norm", stabilizer=tiny)
    _, lrp = network_plan(model, rules[0], norm=rules[1])
    _, gradient = network_plan(model, oracle.GRADIENT)
    relevance = lrp.relevance(x, targets=targets)[0]
    expected = gradient.relevance(x, targets=targets, start="one", times_input=True)[0]
    for actual, sample in zip(relevance, expected, strict=True):
        assert np.abs(actual - sample).max() <= RELATIVE * np.abs(sample).max()


@pytest.mark.parametrize("network", SYNTHETIC)
def test_sensitivity_is_the_squared_gradient(network: str, rng: np.random.Generator) -> None:
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    _, plan = network_plan(model, oracle.GRADIENT)
    gradient = plan.relevance(x, start="one")[0]
    assert np.array_equal(plan.relevance(x, start="one", square=True)[0], gradient**2)
    product = plan.relevance(x, start="one", times_input=True)[0]
    assert np.array_equal(product, gradient * x[:, None])


@pytest.mark.parametrize("name", ["alpha2_beta1", "epsilon", "gamma", "z_box"])
@pytest.mark.parametrize("network", SYNTHETIC)
def test_several_targets_are_each_alone(network: str, name: str, rng: np.random.Generator) -> None:
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((3, *sample_shape(model))).astype(np.float32)
    targets = np.array([[0, 3, 1, 4], [1, 1, 0, 2], [4, 2, -1, 0]], np.int64)
    _, plan = network_plan(model, RULES[name])
    together = plan.relevance(x, targets=targets)[0]
    assert together.shape == (3, 4, *x.shape[1:])
    for i in range(targets.shape[1]):
        alone = plan.relevance(x, targets=targets[:, i : i + 1].copy())[0]
        assert np.array_equal(together[:, i], alone[:, 0])


@pytest.mark.parametrize("name", ["epsilon", "alpha2_beta1", "gamma", "w_square"])
def test_permuting_channels_permutes_relevance(name: str) -> None:
    """Input channels of one group in another order: the same sums in another order."""
    for case in LAYERS:
        if case.groups != 1:
            continue
        data = layer_data(case, "signed", bias=True)
        order = np.random.default_rng(0).permutation(case.inputs)
        axis = 0 if case.kind == "conv_transpose" else 1
        weight = np.ascontiguousarray(np.take(data.weight, order, axis))
        x = np.ascontiguousarray(data.x[:, order])
        first = layer_plan(case, data.weight, data.bias, RULES[name])
        second = layer_plan(case, weight, data.bias, RULES[name])
        expected = run_plan(first, data.x, data.relevance)[:, order]
        actual = run_plan(second, x, data.relevance)
        exact = exact_layer(case, data), data.x.astype(float), data.relevance.astype(float)
        bound = 2 * oracle.relevance_bound(*exact, RULES[name])[:, order]
        assert (np.abs(actual - expected) <= bound).all(), case.id


def account_of(plan: _core.Plan, x: Array, start: Array, node: int) -> oracle.Leaks:
    _, _, _, accounts = plan.relevance(x, start=start[:, None], conservation=True)
    (found,) = (a for a in accounts if a["node"] == node)
    return oracle.Leaks(**{key: value for key, value in found.items() if key != "node"})


@pytest.mark.parametrize("absorb", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_the_report_says_where_relevance_leaks(name: str, absorb: bool) -> None:
    rule = replace(RULES[name], absorb_bias=absorb)
    for case in LAYERS[::3]:
        for sign in SIGNS:
            data = layer_data(case, sign, bias=True)
            plan = layer_plan(case, data.weight, data.bias, rule)
            actual = account_of(plan, data.x, data.relevance, 1)
            layer = exact_layer(case, data)
            x, r = data.x.astype(np.float64), data.relevance.astype(np.float64)
            expected = oracle.leaks(layer, x, r, rule)
            # What the layer's sums may be off by, as for its relevance.
            slack = oracle.relevance_bound(layer, x, r, rule).sum() + 1e-6 * np.abs(r).sum()
            for key, value in vars(expected).items():
                assert abs(getattr(actual, key) - value) <= slack, (case.id, sign, key)
            assert_adds_up(actual, slack)


def assert_adds_up(account: oracle.Leaks, slack: float) -> None:
    total = account.relevance_in + account.bias + account.epsilon + account.zero
    assert abs(account.relevance_out - total) <= slack


def test_relevance_of_dead_outputs_is_reported_as_lost() -> None:
    """Both outputs see only zeros: nothing to share with, under α-β for both parts."""
    case = LayerCase("dead", "dense", 3, 2)
    weight, x = np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)
    r = np.array([[2, 3]], np.float32)
    for name in ("epsilon", "z_plus", "alpha2_beta1", "gamma"):
        account = account_of(layer_plan(case, weight, None, RULES[name]), x, r, 1)
        assert account.zero == pytest.approx(5)
        assert account.relevance_in == 0


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "alpha2_beta1", "gamma", "w_square", "flat"])
@pytest.mark.parametrize("network", SYNTHETIC)
def test_every_layer_of_a_network_adds_up(
    network: str, name: str, rng: np.random.Generator
) -> None:
    """relevance_out = relevance_in + bias + ε + zero, up to the rounding of float32 relevance."""
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((3, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, RULES[name])
    nodes = list(range(len(built.nodes)))
    _, _, layers, accounts = plan.relevance(x, layers=nodes, conservation=True)
    size = {node: float(np.abs(r).sum()) for node, r in zip(nodes, layers, strict=True)}
    assert accounts
    for account in accounts:
        node = account.pop("node")
        flow = size[node] + sum(size[i] for i in built.nodes[node][2])
        assert_adds_up(oracle.Leaks(**account), 1e-5 * flow)


@pytest.mark.parametrize("network", ["plain", "fire"])
def test_z_plus_conserves_a_network_of_relus(network: str, rng: np.random.Generator) -> None:
    """With the bias left out and outputs far above ε, all of f arrives at the input."""
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((3, *sample_shape(model))).astype(np.float32)
    rule = oracle.Rule("z_plus", absorb_bias=False, stabilizer=1e-9)
    _, plan = network_plan(model, rule, norm=oracle.Rule("norm", stabilizer=1e-9))
    relevance, _, _, accounts = plan.relevance(x, start="one", conservation=True)
    lost = sum(a["epsilon"] + a["zero"] for a in accounts)
    assert relevance.sum() == pytest.approx(3 - lost, rel=1e-4)
    assert abs(lost) < 0.01
