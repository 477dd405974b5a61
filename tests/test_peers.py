"""Zennit's composites and Captum's rules on the same networks, through the public API.

The peers run in float64, where they give the definition itself; relprop's float32 result may be as
far from it as the peer's own float32 result is, within the factor that ``test_networks`` states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import oracle
import relprop as rp
from networks import LENET, SQUEEZENET, VGG, NetworkCase
from public import explained_value, one
from test_networks import FACTOR, error
from zennit_stub import import_zennit

torch = pytest.importorskip("torch", reason="torch is not installed")

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def zennit() -> Any:
    try:
        return import_zennit()
    except ImportError as problem:
        pytest.skip(f"zennit does not import: {problem}")


@pytest.fixture(scope="module")
def captum() -> Any:
    return pytest.importorskip("captum.attr", reason="captum is not installed")


def torch_pair(source: Any, output: str | None, sum_module: Any = None) -> list[Any]:
    """The network as a torch module in float64 and in float32."""
    from torch_networks import SumBranches, TorchNetwork

    return [
        TorchNetwork(oracle.Network(source, dtype, output), sum_module or SumBranches)
        for dtype in (np.float64, np.float32)
    ]


def start_of(y: Array) -> Array:
    """Relevance at the output: the largest value, of a map one where that is. Of a map one value in
    thousands is chosen, whose rounding would be the error of the whole heatmap; values are compared
    in ``test_networks``.
    """
    return one(y) if y.ndim > 2 else explained_value(y)


def zennit_relevance(module: Any, composite: Any, x: Array) -> Array:
    dtype = next(module.parameters()).dtype
    variable = torch.from_numpy(x).to(dtype).requires_grad_()
    with composite.context(module) as hooked:
        y = hooked(variable)
        start = torch.from_numpy(start_of(y.detach().numpy()))
        (relevance,) = torch.autograd.grad(y, variable, start)
    return relevance.numpy()


def our_relevance(source: Any, output: str | None, rule: Any, x: Array) -> Array:
    model = rp.from_onnx(source, output=output)
    lrp = rp.LRP(model, rule)
    y = model(x)
    return lrp.attribute(x, start=start_of(y)) if y.ndim > 2 else lrp.attribute(x)


def assert_as_close(ours: Array, peer: Array, peer_float32: Array, label: str) -> None:
    mine, theirs = error(ours, peer), error(peer_float32, peer)
    print(f"{label:50} relprop {mine:.1e}  peer {theirs:.1e}")
    assert mine <= FACTOR * theirs


LOW, HIGH = -160.0, 160.0
COMPOSITES = [
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
]


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize(
    ("case", "count"), [(LENET, 16), (SQUEEZENET, 3), (VGG, 3)], ids=lambda v: getattr(v, "id", "")
)
def test_composites_are_zennits(
    case: NetworkCase, count: int, name: str, data: Path, zennit: Any
) -> None:
    x, path = case.inputs(data, count), data / case.file
    exact, single = torch_pair(path, case.output, zennit.layer.Sum)
    results = []
    for module in (exact, single):
        bounds = {}
        if name == "epsilon_gamma_box":
            dtype = next(module.parameters()).dtype
            bounds = {
                "low": torch.tensor(LOW, dtype=dtype),
                "high": torch.tensor(HIGH, dtype=dtype),
            }
        composite = zennit.composites.COMPOSITES[name](**bounds)
        results.append(zennit_relevance(module, composite, x))
    rule = rp.composites.epsilon_gamma_box(LOW, HIGH) if bounds else name
    ours = our_relevance(path, case.output, rule, x)
    assert_as_close(ours, *results, f"zennit {case.id} {name}")


def test_the_gradient_is_torchs(data: Path) -> None:
    for case, count in [(LENET, 16), (SQUEEZENET, 3)]:
        x, results = case.inputs(data, count), []
        for module in torch_pair(data / case.file, case.output):
            variable = torch.from_numpy(x).to(next(module.parameters()).dtype).requires_grad_()
            y = module(variable)
            (gradient,) = torch.autograd.grad(y.max(1).values.sum(), variable)
            results.append(gradient.numpy())
        ours = rp.Gradient(rp.from_onnx(data / case.file)).attribute(x)
        assert_as_close(ours, *results, f"torch {case.id} gradient")


def without_biases(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.name.endswith(".bias"):
            zeros = np.zeros_like(numpy_helper.to_array(weight))
            weight.CopyFrom(numpy_helper.from_array(zeros, weight.name))
    return model


def captum_relevance(captum: Any, module: Any, x: Array, rule: Any) -> Array:
    """Every layer with weights takes rule(); captum.attr.LRP puts ε = 1e-9 on the others."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.rule = rule()
    variable = torch.from_numpy(x).to(next(module.parameters()).dtype)
    target = module(variable).argmax(1)
    return captum.LRP(module).attribute(variable, target=target).detach().numpy()


# Captum's α1β0 and γ take the bias and signed inputs differently: they agree with the definition
# where there is no bias and no negative input.
CAPTUM = {
    "epsilon": ("EpsilonRule", {"epsilon": 1e-9}, rp.Epsilon(1e-9), True),
    "alpha1_beta0": ("Alpha1_Beta0_Rule", {}, rp.AlphaBeta(1, 0, stabilizer=1e-9), False),
    "gamma": ("GammaRule", {"gamma": 0.25}, rp.Gamma(0.25, stabilizer=1e-9), False),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CAPTUM)
def test_rules_are_captums(name: str, data: Path, captum: Any) -> None:
    from captum.attr._utils import lrp_rules

    kind, arguments, rule, biased = CAPTUM[name]
    path, x = data / LENET.file, LENET.inputs(data, 16)
    source = path if biased else without_biases(path)
    results = [
        captum_relevance(captum, module, x, lambda: getattr(lrp_rules, kind)(**arguments))
        for module in torch_pair(source, None)
    ]
    composite = rp.Composite(conv=rule, dense=rule, norm=rp.Norm(stabilizer=1e-9))
    assert_as_close(our_relevance(source, None, composite, x), *results, f"captum lenet {name}")


@pytest.mark.filterwarnings("ignore")
def test_epsilon_on_photographs_is_captums(data: Path, captum: Any) -> None:
    from captum.attr._utils.lrp_rules import EpsilonRule

    path, x = data / SQUEEZENET.file, SQUEEZENET.inputs(data, 3)
    results = [
        captum_relevance(captum, module, x, lambda: EpsilonRule(epsilon=1e-3))
        for module in torch_pair(path, None)
    ]
    rule = rp.Epsilon(1e-3)
    composite = rp.Composite(conv=rule, dense=rule, norm=rp.Norm(stabilizer=1e-9))
    assert_as_close(our_relevance(path, None, composite, x), *results, "captum squeezenet epsilon")
