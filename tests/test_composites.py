"""Which rule ends up on which layer."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import relprop as rp
from relprop import _core
from relprop.composites import NAMED, as_composite
from small import image_core, image_net, inputs, map_net, values, vector_net

Array = npt.NDArray[Any]

LAYERS = ["stem.conv", "body/conv", "head.one", "head.two"]
A21, FLAT, PLUS, EPS = rp.AlphaBeta(2, 1), rp.Flat(), rp.ZPlus(), rp.Epsilon()
BOX = rp.ZBox(-1, 2)

# What each composite puts on LAYERS.
EXPECTED = {
    "alpha1_beta0": [rp.AlphaBeta(1, 0)] * 4,
    "alpha2_beta1": [A21] * 4,
    "alpha3_beta2": [rp.AlphaBeta(3, 2)] * 4,
    "epsilon_plus": [PLUS, PLUS, EPS, EPS],
    "epsilon_plus_flat": [FLAT, PLUS, EPS, EPS],
    "epsilon_alpha2_beta1": [A21, A21, EPS, EPS],
    "epsilon_alpha2_beta1_flat": [FLAT, A21, EPS, EPS],
}


def relevance(model: rp.Model, rule: Any) -> Array:
    result: Array = rp.LRP(model, rule).attribute(inputs(model, 3))
    return result


def by_names(rules: list[rp.Rule], **more: Any) -> rp.Composite:
    return rp.Composite(names=dict(zip(LAYERS, rules, strict=True)), **more)


def kinds(model: rp.Model, rule: Any) -> dict[str, str]:
    """The rule of every layer with weights, as the engine names it."""
    network = model.network(tuple(size or 6 for size in model.input_shape))
    plan = model.plan(network, as_composite(rule))
    return {layer["name"]: layer["rule"] for layer in plan.layers if layer["rule"]}


def assert_equal(model: rp.Model, first: Any, second: Any) -> None:
    one, two = relevance(model, first), relevance(model, second)
    assert one.any()
    assert np.array_equal(one, two)


@pytest.mark.parametrize("name", EXPECTED)
def test_named(name: str) -> None:
    assert_equal(image_net(), name, by_names(EXPECTED[name]))


def test_all_named_are_tested() -> None:
    assert EXPECTED.keys() == NAMED.keys()


def test_named_composites_differ() -> None:
    model = image_net()
    results = [relevance(model, name).tobytes() for name in EXPECTED]
    assert len(set(results)) == len(results)


def test_epsilon_gamma_box() -> None:
    composite = rp.composites.epsilon_gamma_box(-1, 2, gamma=0.5, epsilon=0.1)
    expected = [BOX, rp.Gamma(0.5), rp.Epsilon(0.1), rp.Epsilon(0.1)]
    assert_equal(image_net(), composite, by_names(expected))


def test_epsilon_gamma_box_without_convolution_has_no_box() -> None:
    """Zennit's definition: the box belongs to the first convolution."""
    assert_equal(vector_net(), rp.composites.epsilon_gamma_box(-1, 2), rp.Epsilon())


@pytest.mark.parametrize("name", ["epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1",
                                  "epsilon_alpha2_beta1_flat"])  # fmt: skip
def test_parameters_of_composites(name: str) -> None:
    make = getattr(rp.composites, name)
    composite = make(epsilon=0.2, stabilizer=0.3, bias="ignore")
    for rule in (composite.first, composite.conv, composite.dense):
        assert rule is None or rule.bias == "ignore"
    assert composite.dense.epsilon == 0.2
    assert composite.conv.stabilizer == composite.norm.stabilizer == 0.3


def test_uniform_rule_reaches_every_linear_layer() -> None:
    assert_equal(image_net(), rp.Gamma(0.3), by_names([rp.Gamma(0.3)] * 4))
    assert set(kinds(image_net(), rp.WSquare()).values()) == {"w_square"}


def test_missing_kinds_are_epsilon() -> None:
    assert_equal(image_net(), rp.Composite(), rp.Epsilon())
    assert_equal(image_net(), rp.Composite(conv=PLUS), by_names([PLUS, PLUS, EPS, EPS]))
    assert_equal(image_net(), rp.Composite(dense=PLUS), by_names([EPS, EPS, PLUS, PLUS]))


def test_positions() -> None:
    model = image_net()
    composite = rp.Composite(first=FLAT, last=A21, conv=PLUS, dense=PLUS)
    assert_equal(model, composite, by_names([FLAT, PLUS, PLUS, A21]))


def test_first_goes_before_last_and_names_before_both() -> None:
    model = map_net()  # one layer
    composite = rp.Composite(first=FLAT, last=A21, conv=PLUS)
    x, start = inputs(model, 2), values(3, 2, 2, 4, 4)
    relevances = [
        rp.LRP(model, rule).attribute(x, start=start)
        for rule in (composite, FLAT, rp.Composite(first=FLAT, names={"conv": A21}), A21)
    ]
    assert np.array_equal(relevances[0], relevances[1])
    assert np.array_equal(relevances[2], relevances[3])
    assert not np.array_equal(relevances[0], relevances[2])


def test_first_means_the_first_that_the_output_depends_on() -> None:
    core = _core.Model((4,), "x")
    core.add_output("aside", core.add_dense("aside", 0, values(1, 2, 4)))
    core.add_output("y", core.add_dense("main", 0, values(2, 3, 4)))
    model = rp.Model(core, "y")
    assert_equal(model, rp.Composite(first=FLAT), rp.Composite(names={"main": FLAT}))


NAMES = [
    ({"head": PLUS}, [EPS, EPS, PLUS, PLUS]),
    ({"head.two": PLUS}, [EPS, EPS, EPS, PLUS]),
    ({"body": PLUS}, [EPS, PLUS, EPS, EPS]),
    ({"/body/": PLUS}, [EPS, PLUS, EPS, EPS]),
    ({"head": PLUS, "head.one": A21}, [EPS, EPS, A21, PLUS]),
    ({"head.one": A21, "head": PLUS}, [EPS, EPS, A21, PLUS]),
    ({"stem": PLUS}, [PLUS, EPS, EPS, EPS]),
]


@pytest.mark.parametrize(("names", "expected"), NAMES)
def test_names(names: dict[str, rp.Rule], expected: list[rp.Rule]) -> None:
    assert_equal(image_net(), rp.Composite(names=names), by_names(expected))


def test_a_name_is_no_prefix_inside_a_segment() -> None:
    core = _core.Model((4,), "x")
    at = core.add_dense("fire1", 0, values(1, 4, 4))
    core.add_output("y", core.add_dense("fire10", at, values(2, 4, 4)))
    assert kinds(rp.Model(core), rp.Composite(names={"fire1": FLAT})) == {
        "fire1": "flat",
        "fire10": "epsilon",
    }


def test_norm_reaches_pools_and_sums() -> None:
    """A large stabilizer there takes relevance away; the conservation report sees where."""
    model = image_net()
    x = inputs(model, 3)
    for norm in (rp.Composite(norm=rp.Norm(stabilizer=1.0)),
                 rp.Composite(names={"sum": rp.Norm(stabilizer=1.0),
                                     "pool": rp.Norm(stabilizer=1.0)})):  # fmt: skip
        report = rp.LRP(model, norm).conservation(x)
        lost = {layer.name: abs(layer.epsilon) > 0.01 for layer in report.layers}
        assert lost.pop("sum")
        assert lost.pop("pool")
        assert not any(lost.values())


@pytest.mark.parametrize("rule", [rp.Gamma(0.3), rp.Flat()])
def test_lonely_batch_norms_follow_the_kind_of_their_input(rule: rp.Rule) -> None:
    image = _core.Model((2, 3, 3), "x")
    at = image.add_activation("front", 0, "tanh")
    at = image.add_batch_norm("norm", at, values(1, 2), values(2, 2))
    image.add_output("y", image.add_reshape("flat", image.add_activation("t", at, "tanh"), (18,)))
    vector = _core.Model((4,), "x")
    vector.add_output("y", vector.add_batch_norm("norm", 0, values(1, 4), values(2, 4)))
    for core, composite in ((image, rp.Composite(conv=rule)), (vector, rp.Composite(dense=rule))):
        model = rp.Model(core)
        name = {"Gamma": "gamma", "Flat": "flat"}[type(rule).__name__]
        assert kinds(model, composite) == {"norm": name}
        assert kinds(model, rule) == {"norm": name}
        assert_equal(model, composite, rp.Composite(names={"norm": rule}))


def test_models_without_linear_layers() -> None:
    core = _core.Model((3,), "x")
    core.add_output("y", core.add_activation("relu", 0, "relu"))
    model = rp.Model(core)
    x = np.array([[-1, 2, 3]], np.float32)
    composite = rp.Composite(first=FLAT, last=A21, conv=PLUS, dense=PLUS)
    assert rp.LRP(model, composite).attribute(x).tolist() == [[0, 0, 3]]


def test_rules_are_values() -> None:
    assert rp.AlphaBeta(2, 1) == rp.AlphaBeta(2.0, 1.0) != rp.AlphaBeta(3, 2)
    assert rp.ZBox([[-1.0]], 1) == rp.ZBox(np.array([[-1.0]]), 1.0)
    assert rp.ZBox(-1, 1) != rp.ZBox(-1, 2)
    assert rp.ZBox(-1, 1) != rp.ZBox(-1, 1, bias="ignore")
    assert rp.ZBox(0, 1) != rp.ZBox([0.0], 1)
    assert len({rp.Epsilon(), rp.Epsilon(1e-6), rp.ZPlus(), rp.WSquare(), rp.ZBox(0, 1)}) == 4
    composite = rp.Composite(first=rp.ZBox(0, 1), names={"a": rp.Gamma()})
    assert pickle.loads(pickle.dumps(composite)) == composite == copy.deepcopy(composite)
    assert hash(composite) == hash(copy.deepcopy(composite))


def test_keys_are_equal_across_processes() -> None:
    """Hashes of strings are not: one that travels with a pickle would miss the cache."""
    script = (
        "import pickle, sys, relprop as rp; c = rp.composites.epsilon_plus(); hash(c.key); "
        "sys.stdout.buffer.write(pickle.dumps(c))"
    )
    sent = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        check=True,
        capture_output=True,
    ).stdout
    key = rp.composites.epsilon_plus().key
    assert {key: "plan"}[pickle.loads(sent).key] == "plan"


def test_rules_do_not_change_behind_the_back() -> None:
    """Plans are kept by rule, so what a rule holds must not follow the caller's arrays."""
    low, names = np.full((2, 1, 1), -1, np.float32), {"head": PLUS}
    box = rp.ZBox(low, 5)
    composite = rp.Composite(first=box, names=names)
    model = image_net()
    lrp = rp.LRP(model, composite)
    x = inputs(model, 2)
    before = lrp.attribute(x)
    low[:] = -3
    names["head"] = FLAT
    assert np.array_equal(lrp.attribute(x), before)
    with pytest.raises(ValueError, match="read-only"):
        box.low[:] = 0
    composite.names["head"] = FLAT  # type: ignore[index]
    expected = rp.LRP(model, rp.Composite(first=box, names={"head": FLAT})).attribute(x)
    assert np.array_equal(rp.LRP(model, composite).attribute(x), expected)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 1), (2, 6, 6), (6, 6), (1, 2, 1, 1), (1, 6)])
def test_box_bounds_broadcast(shape: tuple[int, ...]) -> None:
    model = image_net()
    low, high = -3 + values(1, *shape) / 8, 3 + values(2, *shape) / 8
    full = [np.broadcast_to(bound.reshape(bound.shape[-3:]), (2, 6, 6)) for bound in (low, high)]
    assert_equal(
        model,
        rp.Composite(first=rp.ZBox(low, high)),
        rp.Composite(first=rp.ZBox(*(np.ascontiguousarray(bound) for bound in full))),
    )


def test_a_folded_batch_norm_is_no_layer_of_its_own() -> None:
    model = rp.Model(image_core())
    with pytest.raises(
        ValueError,
        match=r"^names: 'stem.norm' fits 'stem.norm' \(batch_norm\), which is folded into the "
        "linear layer beside it; accepted: the name of that layer$",
    ):
        relevance(model, rp.Composite(names={"stem.norm": FLAT}))
