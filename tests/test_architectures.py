"""Every architecture of ``architectures.py``: outputs against torch, heatmaps against float64."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
import relprop as rp
from public import explained_value, method, one, public_rule

torch = pytest.importorskip("torch", reason="torch is not installed")

from architectures import ARCHITECTURES, Architecture  # noqa: E402
from oracle_torch import TorchNetwork  # noqa: E402

Array = npt.NDArray[Any]

RELATIVE = 1e-5
# How far float32 is off depends on how nearly sums cancel, so that is measured on the same input:
# by rounding every value of the float64 network to float32. With MNASNet and Epsilon this alone
# moves the heatmap by 1.3e-4 of its root mean square.
FACTOR = 10

RULES = {
    "gradient": oracle.GRADIENT,
    "epsilon": oracle.Rule("epsilon"),
    "alpha2_beta1": oracle.Rule("alpha_beta", alpha=2, beta=1),
    "gamma": oracle.Rule("gamma"),
}

each = pytest.mark.parametrize("case", ARCHITECTURES, ids=lambda case: case.id)


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Any:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@cache
def model_of(case: Architecture) -> rp.Model:
    return rp.from_torch(case.module(), case.inputs(1))


@cache
def exact(case: Architecture, gates: str = "constant") -> TorchNetwork:
    return TorchNetwork(case.module(), case.inputs(2), gates)


def root_mean_square(a: Array) -> float:
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


@each
def test_outputs_are_torchs(case: Architecture) -> None:
    x = case.inputs(3)
    with torch.no_grad():
        expected = case.module()(x).numpy()
    actual = model_of(case)(x).numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


def check_heatmap(case: Architecture, rule: oracle.Rule, gates: Any = "constant") -> None:
    network, x = exact(case, gates), case.inputs(2).numpy()
    start = (one if rule == oracle.GRADIENT else explained_value)(network.forward(x))
    expected = network.explain(x, start, rule).relevance
    chosen: Any = rule
    if gates != "constant":
        chosen = rp.Composite(conv=public_rule(rule), dense=public_rule(rule), gate=gates)
    actual = method(model_of(case), chosen).attribute(x, start=start.astype(np.float32))
    rounded = network.rounded().explain(x, start, rule).relevance
    allowed = RELATIVE + FACTOR * root_mean_square(rounded - expected) / root_mean_square(expected)
    assert root_mean_square(actual - expected) <= allowed * root_mean_square(expected)


@pytest.mark.parametrize("name", RULES)
@each
def test_heatmaps_are_the_oracles(case: Architecture, name: str) -> None:
    check_heatmap(case, RULES[name])


def cases(*names: str) -> list[Architecture]:
    return [case for case in ARCHITECTURES if case.id in names]


GATED = pytest.mark.parametrize(
    "case", cases("mobilenet-v3", "efficientnet", "regnet"), ids=lambda case: case.id
)


@GATED
def test_gates_can_take_half(case: Architecture) -> None:
    check_heatmap(case, RULES["gamma"], "split")
    x = case.inputs(2)
    constant = rp.LRP(model_of(case), rp.Composite()).attribute(x)
    split = rp.LRP(model_of(case), rp.Composite(gate="split")).attribute(x)
    assert not np.allclose(constant, split, rtol=0.1)


@GATED
def test_no_relevance_enters_a_constant_gate(case: Architecture) -> None:
    model = model_of(case)
    _, layers = rp.LRP(model).attribute(case.inputs(2), return_layers=True)
    gates = [name for name in layers if name.endswith((".fc1", ".fc2", ".avgpool"))]
    assert gates
    assert not any(np.asarray(layers[name]).any() for name in gates)


@pytest.mark.parametrize(
    "case", cases("shufflenet-v2", "mobilenet-v3", "convnext", "unet"), ids=lambda case: case.id
)
@pytest.mark.parametrize("rule", [rp.AlphaBeta(2, 1), rp.Epsilon()], ids=["alpha-beta", "epsilon"])
def test_batch_and_threads_do_not_matter(case: Architecture, rule: rp.Rule) -> None:
    lrp, x = rp.LRP(model_of(case), rule), case.inputs(5).numpy()
    start = explained_value(model_of(case)(x))
    together = lrp.attribute(x, start=start, n_threads=2)
    parts = zip(x[:, None], start[:, None], strict=True)
    alone = [lrp.attribute(part, start=s, n_threads=1) for part, s in parts]
    assert np.array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize(
    "case", cases("convnext", "unet", "efficientnet"), ids=lambda case: case.id
)
@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_what_leaks_is_accounted_for(case: Architecture, bias: Any) -> None:
    rule = rp.Epsilon(bias=bias)
    composite = rp.Composite(conv=rule, dense=rule, norm=rp.Norm(bias=bias))
    lrp, x = rp.LRP(model_of(case), composite), case.inputs(2).numpy()
    start = explained_value(model_of(case)(x))
    report = lrp.conservation(x, start=start, n_threads=1)
    _, relevance = lrp.attribute(x, start=start, return_layers=True, n_threads=1)
    inputs = {name: reads for name, _, reads, _ in model_of(case).network(case.shape).nodes}
    names = list(inputs)
    checked = [
        layer for layer in report.layers if layer.op in ("layer_norm", "resample", "product")
    ]
    assert checked
    for layer in checked:
        # The sums are of values of either sign, which are much larger than their sum.
        near = [layer.name, *(names[i] for i in inputs[layer.name])]
        assert abs(layer.rest) <= 1e-6 * sum(np.abs(relevance[name]).sum() for name in near), layer
        assert layer.bias == 0 or bias == "absorb"


def test_layer_norms_can_pass() -> None:
    """What arrives behind a layer norm leaves in front of it, where Norm would share it out."""
    (case,) = cases("convnext")
    for layer_norm, same in ((rp.Pass(), True), (rp.Norm(), False)):
        lrp = rp.LRP(model_of(case), rp.Composite(layer_norm=layer_norm))
        _, layers = lrp.attribute(case.inputs(2).numpy(), return_layers=True)
        for block in ("features.2", "features.5"):
            before, behind = layers[f"{block}.permute"], layers[f"{block}.norm"]
            assert behind.any()
            assert np.array_equal(before, behind) == same


def test_summaries_name_the_new_layers() -> None:
    text = "".join(model_of(case).summary() for case in cases("convnext", "unet", "mobilenet-v3"))
    for op in ("layer_norm", "resample", "gather", "product"):
        assert op in text
