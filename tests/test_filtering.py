"""Masks that block relevance at a layer, and relevance at every layer, against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
from cases import RULES
from engine import network_plan
from synthetic import SYNTHETIC, sample_shape

Array = npt.NDArray[Any]

METHODS = {**RULES, "gradient": oracle.GRADIENT}

# Float32 against float64 where no sum of the rule cancels.
TOLERANCE = 1e-4


def largest(y: Array) -> Array:
    return np.where(np.arange(y.shape[1]) == y.argmax(1)[:, None], y, 0)


def assert_close(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    ("network", "name"),
    # w² puts relevance on sums close to zero, where sharing it is ill-conditioned.
    [*((n, "z_plus") for n in SYNTHETIC), *((n, "w_square") for n in ("plain", "fire", "signed"))],
)
def test_relevance_of_every_layer(network: str, name: str, rng: np.random.Generator) -> None:
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    exact = oracle.Network(model)
    expected = exact.explain(x, largest, RULES[name])
    built, plan = network_plan(model, RULES[name])
    nodes = [i for i, node in enumerate(built.nodes) if node[0] in expected.layers]
    assert {built.nodes[i][0] for i in nodes} == set(expected.layers)
    relevance, _, layers, _ = plan.relevance(x, layers=nodes)
    for i, actual in zip(nodes, layers, strict=True):
        assert_close(actual[:, 0], expected.layers[built.nodes[i][0]])
    assert np.array_equal(relevance, layers[nodes.index(0)])


def test_a_layer_that_the_output_does_not_need_has_no_relevance(rng: np.random.Generator) -> None:
    model = SYNTHETIC["signed"](True)
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, RULES["z_plus"])
    for _ in range(3):
        side = plan.relevance(x, layers=[built.find("side")])[2][0]
        assert not side.any()


# A network, a layer in it, and whether other branches lead past it.
MASKED = [
    ("plain", "conv1", False),
    ("plain", "pool1", False),
    ("plain", "relu2", False),
    ("plain", "flatten", False),
    ("plain", "dense1", False),
    ("fire", "expand3_0", True),
    ("fire", "relu_e1_1", True),
    ("fire", "concat0", False),
    ("residual", "block1a", True),
    ("residual", "relu1", False),
    ("residual", "shortcut", True),
    ("residual", "bn2b", True),
    ("depthwise", "deep", True),
    ("depthwise", "add", False),
]


@pytest.mark.parametrize("exclude_parallel", [False, True])
@pytest.mark.parametrize("shape", ["neurons", "per_sample", "channels"])
@pytest.mark.parametrize(("network", "layer", "bypassed"), MASKED)
def test_masks(
    network: str,
    layer: str,
    bypassed: bool,
    shape: str,
    exclude_parallel: bool,
    rng: np.random.Generator,
) -> None:
    model, rule = SYNTHETIC[network](True), RULES["z_plus"]
    x = rng.standard_normal((3, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, rule)
    node = built.find(layer)
    mask = random_mask(built.shape(node), shape, len(x), rng)
    actual = plan.relevance(
        x,
        masks=[(node, mask, shape == "per_sample")],
        exclude_parallel=exclude_parallel,
        layers=[node],
    )
    exact = oracle.Network(model)
    expected = exact.explain(
        x, largest, rule, masks={layer: mask}, exclude_parallel=exclude_parallel
    )
    assert_close(actual[0][:, 0], expected.relevance)
    assert_close(actual[2][0][:, 0], expected.layers[layer])
    other = exact.explain(
        x, largest, rule, masks={layer: mask}, exclude_parallel=not exclude_parallel
    )
    difference = np.abs(other.relevance - expected.relevance).max()
    assert (difference > 10 * TOLERANCE * np.abs(expected.relevance).max()) == bypassed


def random_mask(layer: tuple[int, ...], shape: str, count: int, rng: Any) -> Array:
    if shape == "channels":
        values = rng.integers(0, 2, layer[0]).astype(np.float32)
        values[rng.integers(layer[0])] = 1
        wide = values.reshape(1, -1, *[1] * (len(layer) - 1))
        return np.ascontiguousarray(np.broadcast_to(wide, (1, *layer)))
    samples = count if shape == "per_sample" else 1
    return rng.integers(0, 2, (samples, *layer)).astype(np.float32)


@pytest.mark.parametrize("name", ["epsilon", "alpha2_beta1", "gradient"])
@pytest.mark.parametrize("network", SYNTHETIC)
def test_looking_changes_nothing(network: str, name: str, rng: np.random.Generator) -> None:
    """Masks of ones, relevance of layers and the report leave every bit of the heatmap."""
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, METHODS[name])
    plainly = plan.relevance(x)[0]
    assert plainly.any()
    assert np.array_equal(plan.relevance(x, conservation=True)[0], plainly)
    for node in range(len(built.nodes)):
        if not plan.relevance(x, layers=[node])[2][0].any():
            continue  # behind the output, or a side of it
        ones = np.ones((1, *built.shape(node)), np.float32)
        assert np.array_equal(plan.relevance(x, masks=[(node, ones, False)])[0], plainly)
        assert np.array_equal(plan.relevance(x, layers=[node])[0], plainly)


def test_masks_of_two_layers_one_behind_the_other(rng: np.random.Generator) -> None:
    model, rule = SYNTHETIC["fire"](True), RULES["z_plus"]
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, rule)
    names = ("expand3_1", "expand1_0")
    masks = {n: random_mask(built.shape(built.find(n)), "channels", 2, rng) for n in names}
    for exclude_parallel in (False, True):
        actual = plan.relevance(
            x,
            masks=[(built.find(n), mask, False) for n, mask in masks.items()],
            exclude_parallel=exclude_parallel,
        )[0]
        expected = oracle.Network(model).explain(
            x, largest, rule, masks=masks, exclude_parallel=exclude_parallel
        )
        assert_close(actual[:, 0], expected.relevance)


def test_masks_side_by_side_cannot_exclude_each_other(rng: np.random.Generator) -> None:
    model = SYNTHETIC["fire"](True)
    x = rng.standard_normal((1, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, RULES["z_plus"])
    masks = []
    for name in ("expand1_0", "expand3_0"):
        node = built.find(name)
        masks.append((node, np.ones((1, *built.shape(node)), np.float32), False))
    with pytest.raises(ValueError, match=r"expand1_0.*expand3_0.*parallel"):
        plan.relevance(x, masks=masks, exclude_parallel=True)


@pytest.mark.parametrize("network", ["plain", "fire"])
def test_masks_in_a_gradient(network: str, rng: np.random.Generator) -> None:
    """A masked layer's gradient is cut, in front of and behind its activation."""
    model = SYNTHETIC[network](True)
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    exact = oracle.Network(model)
    built, plan = network_plan(model, oracle.GRADIENT)
    for layer in ("conv1", "relu1"):
        node = built.find(layer)
        mask = random_mask(built.shape(node), "neurons", 2, rng)
        actual = plan.relevance(x, start="one", masks=[(node, mask, False)], layers=[node])
        expected = exact.explain(
            x, lambda y: np.sign(np.abs(largest(y))), oracle.GRADIENT, masks={layer: mask}
        )
        assert_close(actual[0][:, 0], expected.relevance)
        assert_close(actual[2][0][:, 0], expected.layers[layer])


def test_a_mask_leaves_the_layers_behind_it_alone(rng: np.random.Generator) -> None:
    """A mask on a convolution acts in front of its ReLU, even where the two are computed as one."""
    model, rule = SYNTHETIC["plain"](True), RULES["z_plus"]
    x = rng.standard_normal((2, *sample_shape(model))).astype(np.float32)
    built, plan = network_plan(model, rule)
    conv, relu = built.find("conv2"), built.find("relu2")
    mask = np.zeros((1, *built.shape(conv)), np.float32)
    relevance, _, (at_conv, at_relu), _ = plan.relevance(
        x, masks=[(conv, mask, False)], layers=[conv, relu]
    )
    assert not relevance.any()
    assert not at_conv.any()
    assert np.array_equal(at_relu, plan.relevance(x, layers=[relu])[2][0])
