"""The oracle against torch's autograd and zennit's rules, all in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import oracle
from cases import LAYERS, RULES, SIGNS, LayerCase, layer_data
from zennit_stub import import_zennit

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The layers are tiny: a second thread would only wait for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def zennit() -> Any:
    try:
        return import_zennit()
    except ImportError as error:
        pytest.skip(f"zennit does not import: {error}")


def torch_module(case: LayerCase, layer: oracle.Linear) -> Any:
    """The layer as a torch module behind a module that pads; the padding holds no parameters."""
    nn = torch.nn
    if case.kind == "dense":
        module = nn.Linear(case.inputs, case.outputs, bias=layer.bias is not None)
    else:
        spatial = len(case.size)
        kinds = {
            ("conv", 1): nn.Conv1d,
            ("conv", 2): nn.Conv2d,
            ("conv_transpose", 1): nn.ConvTranspose1d,
            ("conv_transpose", 2): nn.ConvTranspose2d,
        }
        geometry: dict[str, Any] = {
            "stride": case.stride[2 - spatial :],
            "dilation": case.dilation[2 - spatial :],
            "groups": case.groups,
            "bias": layer.bias is not None,
        }
        if case.kind == "conv_transpose":
            geometry["output_padding"] = case.output_padding[2 - spatial :]
        module = kinds[case.kind, spatial](case.inputs, case.outputs, case.kernel, **geometry)
    module = module.double()
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(layer.weight))
        if layer.bias is not None:
            module.bias.copy_(torch.from_numpy(layer.bias))
    return module


def pad_widths(case: LayerCase) -> list[int]:
    """torch.nn.functional.pad's order, last axis first, for the spatial axes."""
    (top, left), (bottom, right) = case.pad_begin, case.pad_end
    widths = [left, right] if len(case.size) == 1 else [left, right, top, bottom]
    return [-w for w in widths] if case.kind == "conv_transpose" else widths


def torch_output(case: LayerCase, module: Any, x: Any) -> Any:
    pad = torch.nn.functional.pad
    if case.kind == "dense":
        return module(x)
    if case.kind == "conv":
        return module(pad(x, pad_widths(case)))
    return pad(module(x), pad_widths(case))


def double_data(case: LayerCase, sign: str, bias: bool) -> tuple[oracle.Linear, Any, Any]:
    data = layer_data(case, sign, bias)
    b = None if data.bias is None else data.bias.astype(np.float64)
    layer = case.oracle(data.weight.astype(np.float64), b)
    return layer, data.x.astype(np.float64), data.relevance.astype(np.float64)


def assert_same(actual: Any, expected: Any) -> bool:
    """Two float64 computations of one thing, relative to the largest value; False if all is 0."""
    assert actual.shape == expected.shape
    largest = np.abs(expected).max()
    assert np.abs(actual - expected).max() <= 1e-12 * largest
    return bool(largest > 0)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_forward_and_gradient_are_torchs(case: LayerCase) -> None:
    layer, x, r = double_data(case, "signed", bias=True)
    module, variable = torch_module(case, layer), torch.from_numpy(x).requires_grad_()
    y = torch_output(case, module, variable)
    (gradient,) = torch.autograd.grad(y, variable, torch.from_numpy(r))
    assert assert_same(layer.forward(x), y.detach().numpy())
    assert assert_same(layer.gradient(x, r), gradient.numpy())


def zennit_rule(zennit: Any, rule: oracle.Rule) -> Any:
    rules, zero = zennit.rules, None if rule.absorb_bias else "bias"
    more = {"stabilizer": rule.stabilizer, "zero_params": zero}
    if rule.kind == "epsilon":
        return rules.Epsilon(rule.stabilizer, zero_params=zero)
    if rule.kind == "z_plus":
        return rules.ZPlus(**more)
    if rule.kind == "alpha_beta":
        return rules.AlphaBeta(rule.alpha, rule.beta, **more)
    if rule.kind == "gamma":
        return rules.Gamma(rule.gamma, **more)
    if rule.kind == "w_square":
        return rules.WSquare(**more)
    if rule.kind == "flat":
        return rules.Flat(**more)
    if rule.kind == "z_box":
        return rules.ZBox(rule.low, rule.high, **more)
    assert rule.kind == "norm"
    return rules.Norm(rule.stabilizer)


@pytest.mark.parametrize("bias", ["absorb", "ignore", "none"])
@pytest.mark.parametrize("sign", SIGNS)
# Zennit has no rule with other weights; Captum has, see test_compat_captum.py.
@pytest.mark.parametrize("name", [name for name in RULES if name != "reweighted"])
def test_rules_are_zennits(zennit: Any, name: str, sign: str, bias: str) -> None:
    """Every layer whose padding torch's own module can express: zennit hooks modules."""
    vacuous = []
    for case in LAYERS:
        if case.kind != "conv" and any(case.pad_begin + case.pad_end):
            continue
        rule = RULES[name]
        if bias == "ignore":
            if rule.kind == "norm":
                continue  # zennit's Norm always keeps the bias
            rule = oracle.Rule(**{**vars(rule), "absorb_bias": False})
        layer, x, r = double_data(case, sign, bias != "none")
        if case.kind == "conv":
            module = symmetric_conv(case, layer)
            if module is None:
                continue
        else:
            module = torch_module(case, layer)
        if rule.kind == "gamma" and bias == "ignore":
            # Zennit decides by the sign of z with the bias; ours by the z that the rule divides by.
            without = layer.apply(layer.weight, x)
            r = np.where(np.sign(without) == np.sign(layer.forward(x)), r, 0)
        hook = zennit_rule(zennit, rule).register(module)
        variable = torch.from_numpy(x).requires_grad_()
        (expected,) = torch.autograd.grad(module(variable), variable, torch.from_numpy(r))
        hook.remove()
        if not assert_same(layer.relevance(x, r, rule), expected.numpy()):
            vacuous.append(case.id)
    # One weight of the wrong sign leaves nothing to share; only the smallest layers can be so.
    assert all(
        case.id in ("dense-1-17", "conv-pointwise-1-1") for case in LAYERS if case.id in vacuous
    )


def symmetric_conv(case: LayerCase, layer: oracle.Linear) -> Any:
    """The module with its own padding, None where that is not symmetric."""
    if case.pad_begin != case.pad_end:
        return None
    module = torch_module(case, layer)
    spatial = len(case.size)
    module.padding = case.pad_begin[2 - spatial :]
    module._reversed_padding_repeated_twice = [p for p in case.pad_begin[::-1] for _ in (0, 1)]
    return module


def test_leaks_add_up() -> None:
    for case in LAYERS:
        for rule in RULES.values():
            for bias in (True, False):
                layer, x, r = double_data(case, "signed", bias)
                found = oracle.leaks(layer, x, r, rule)
                total = found.relevance_in + found.bias + found.epsilon + found.zero
                scale = np.abs(layer.relevance(x, r, rule)).sum() + np.abs(r).sum()
                assert abs(total - found.relevance_out) <= 1e-12 * scale


def test_float32_error_is_within_the_bound() -> None:
    """The bound holds for the same oracle in float32, and is not vacuous: some error is near it."""
    closest = 0.0
    for case in LAYERS:
        for name, rule in RULES.items():
            layer, x, r = double_data(case, "signed", bias=True)
            single = case.oracle(layer.weight.astype(np.float32), layer.bias.astype(np.float32))
            small = single.relevance(x.astype(np.float32), r.astype(np.float32), rule)
            exact = layer.relevance(x, r, rule)
            bound = oracle.relevance_bound(layer, x, r, rule)
            error = np.abs(small - exact)
            assert (error <= bound).all(), (case.id, name)
            closest = max(closest, float((error / np.maximum(bound, 1e-300)).max()))
    assert closest > 0.05
