"""Real networks: recorded outputs, classes of photographs, and heatmaps of every rule.

How far a float32 heatmap is from float64 depends on the network and the rule far more than on the
implementation, so the yardstick is measured: a hand-written float32 torch implementation of the
same rules on the same input (``torch_networks.HandWritten``). Both errors are printed and kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
import relprop as rp
from cases import RULES
from networks import (
    EFFICIENTNET,
    GAN_DISCRIMINATOR,
    GAN_GENERATOR,
    LENET,
    PHOTOGRAPHS,
    SQUEEZENET,
    VGG,
    NetworkCase,
)
from public import explained_value, method, one, public_rule

Array = npt.NDArray[Any]

RELATIVE = 1e-5  # of the largest output

# Rounding is chance: on one network and rule either side may be ahead by this much, but over all
# rules relprop must not be behind.
FACTOR = 2.0


def load(case: NetworkCase, data: Path) -> rp.Model:
    return rp.from_onnx(data / case.file, output=case.output)


RECORDED = [
    (LENET, 64, "logits_float64"),
    (GAN_GENERATOR, 32, "image_float64"),
    (SQUEEZENET, 8, "logits_float64"),
    (EFFICIENTNET, 8, "logits_float64"),
]


@pytest.mark.parametrize(("case", "count", "key"), RECORDED, ids=lambda v: getattr(v, "id", None))
def test_outputs_are_the_recorded_ones(case: NetworkCase, count: int, key: str, data: Path) -> None:
    recorded = case.reference(data)[key]
    y = load(case, data)(case.inputs(data, count))
    assert y.shape == recorded.shape
    assert np.abs(y - recorded).max() <= RELATIVE * np.abs(recorded).max()


@pytest.mark.parametrize("output", [f"edge_score{i}" for i in range(1, 6)])
def test_outputs_of_the_vgg_base(output: str, data: Path) -> None:
    """No recorded outputs for these: against the float64 oracle."""
    x = VGG.inputs(data, 2)
    expected = oracle.Network(data / VGG.file, output=output).forward(x)
    y = rp.from_onnx(data / VGG.file, output=output)(x)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= RELATIVE * np.abs(expected).max()


def test_outputs_of_the_discriminator(data: Path) -> None:
    x = GAN_DISCRIMINATOR.inputs(data, 16)
    expected = oracle.Network(data / GAN_DISCRIMINATOR.file).forward(x)
    y = load(GAN_DISCRIMINATOR, data)(x)
    assert np.abs(y - expected).max() <= RELATIVE * np.abs(expected).max()


@pytest.mark.parametrize("case", [SQUEEZENET, EFFICIENTNET], ids=lambda case: case.id)
def test_classes_of_the_photographs(case: NetworkCase, data: Path) -> None:
    """The recorded ones; six of the photographs are agreed on by three networks."""
    y = load(case, data)(case.inputs(data, 8))
    recorded = case.reference(data)
    assert list(recorded["images"]) == list(PHOTOGRAPHS)
    assert np.array_equal(y.argmax(1), recorded["logits_float64"].argmax(1))
    lines = (data / "natural_images/imagenet1k_sorted_wnid.txt").read_text().splitlines()
    found = {name: lines[c].lower() for name, c in zip(PHOTOGRAPHS, y.argmax(1), strict=True)}
    expected = {
        "coffee": "espresso",
        "bird": "chickadee",
        "cat": "egyptian",
        "dragonfly": "dragonfly",
        "parrot": "macaw",
        "hot_dog": "hotdog",
    }
    for name, word in expected.items():
        assert word in found[name].replace(" ", "").replace("_", "")


def by_position(first: oracle.Rule, conv: oracle.Rule, dense: oracle.Rule) -> Any:
    """A composite: keywords of relprop.Composite, rules of the oracle."""
    return {"first": first, "conv": conv, "dense": dense}


BOX = oracle.Rule("z_box", low=-160.0, high=160.0)
RULE_OF_LAYER: dict[str, Any] = {
    **{name: rule for name, rule in RULES.items() if name not in ("norm", "z_box", "gamma-2")},
    "gradient": oracle.GRADIENT,
    "z_box": by_position(BOX, RULES["alpha1_beta0"], RULES["epsilon"]),
    "flat-alpha2_beta1-epsilon": by_position(
        RULES["flat"], RULES["alpha2_beta1"], RULES["epsilon"]
    ),
}


def oracle_rules(network: oracle.Network, chosen: Any) -> Any:
    if isinstance(chosen, oracle.Rule):
        return chosen
    first = network.linear_layers[0][0]

    def assign(name: str, kind: str) -> oracle.Rule:
        if name == first:
            return chosen["first"]
        return chosen["dense" if kind == "Dense" else "conv"]

    return assign


def explain(model: rp.Model, chosen: Any, x: Array, start: Array) -> Array:
    if not isinstance(chosen, oracle.Rule):
        chosen = rp.Composite(**{key: public_rule(rule) for key, rule in chosen.items()})
    return method(model, chosen).attribute(x, start=start)


def error(actual: Array, expected: Array) -> float:
    """What nine of ten values stay below, relative to the root mean square; the median image.

    Not the L2 error: where the two largest inputs of a max pooling are within rounding of each
    other, float32 may choose the other winner, and all relevance behind it moves to another place
    (torch and relprop each do so in a few of the eight photographs, not in the same ones).
    """
    typical = []
    for image, exact in zip(actual, expected, strict=True):
        off = np.abs(image - exact)[exact != 0]
        typical.append(np.quantile(off, 0.9) / np.sqrt((exact**2).mean()))
    return float(np.median(typical))


HEATMAPS = [
    (LENET, 16, list(RULE_OF_LAYER)),
    (GAN_DISCRIMINATOR, 16, list(RULE_OF_LAYER)),
    (GAN_GENERATOR, 16, list(RULE_OF_LAYER)),
    (SQUEEZENET, 8, list(RULE_OF_LAYER)),
    (VGG, 3, list(RULE_OF_LAYER)),
    (EFFICIENTNET, 1, ["epsilon", "z_plus", "alpha2_beta1", "gamma", "gradient"]),
]


@pytest.mark.parametrize(
    ("case", "count", "names"), HEATMAPS, ids=lambda v: getattr(v, "id", None) or ""
)
def test_heatmaps_are_as_exact_as_torchs(
    case: NetworkCase, count: int, names: list[str], data: Path
) -> None:
    torch_networks = pytest.importorskip("torch_networks", reason="torch is not installed")
    exact = oracle.Network(data / case.file, output=case.output)
    rival = torch_networks.HandWritten(data / case.file, output=case.output)
    model, x = load(case, data), case.inputs(data, count)
    outputs = exact.forward(x)
    failures, ratios = [], []
    for name in names:
        chosen = RULE_OF_LAYER[name]
        # Everybody starts from the exact value: the error of f(x) is a test of its own, and as one
        # random number an image it would outweigh what the rule does.
        start = (one if name == "gradient" else explained_value)(outputs).astype(np.float32)
        expected = exact.explain(x, start, oracle_rules(exact, chosen)).relevance
        theirs = error(rival.explain(x, start, oracle_rules(rival, chosen)).relevance, expected)
        ours = error(explain(model, chosen, x, start), expected)
        line = f"{case.id:18} {name:26} relprop {ours:.1e}  torch {theirs:.1e}"
        print(line)
        ratios.append(ours / theirs)
        if ours > FACTOR * theirs:
            failures.append(line)
    assert not failures, "\n".join(failures)
    assert np.exp(np.mean(np.log(ratios))) <= 1
