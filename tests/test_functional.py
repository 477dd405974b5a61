"""Single layers on arrays against the float64 definitions, and against torch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import oracle
import relprop as rp
from cases import LAYERS, RULES, LayerCase, layer_data
from public import public_rule
from relprop import functional
from small import values
from test_layers import assert_close, exact_layer

Array = npt.NDArray[Any]

# functional takes symmetric padding only.
CASES = [
    case
    for case in LAYERS
    if case.kind == "dense"
    or (case.kind == "conv" and len(case.size) == 2 and case.pad_begin == case.pad_end)
]


def geometry(case: LayerCase) -> dict[str, Any]:
    if case.kind == "dense":
        return {}
    return {
        "stride": case.stride,
        "padding": case.pad_begin,
        "dilation": case.dilation,
        "groups": case.groups,
    }


def function(case: LayerCase, kind: str = "") -> Any:
    return getattr(functional, ("dense" if case.kind == "dense" else "conv2d") + kind)


def test_cases_cover_geometries() -> None:
    for name in ("stride", "pad_begin", "dilation"):
        pairs = {getattr(case, name) for case in CASES if case.kind == "conv"}
        assert any(y != x for y, x in pairs), name
    assert any(case.groups > 1 for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_forward_and_gradient(case: LayerCase) -> None:
    for bias in (True, False):
        data = layer_data(case, "signed", bias)
        layer, x = exact_layer(case, data), data.x.astype(np.float64)
        y = function(case)(data.x, data.weight, data.bias, **geometry(case))
        assert_close(y, layer.forward(x), oracle.forward_bound(layer, x))
        r = data.relevance.astype(np.float64)
        g = function(case, "_gradient")(
            data.x, data.weight, data.bias, data.relevance, **geometry(case)
        )
        assert_close(g, layer.gradient(x, r), oracle.gradient_bound(layer, x, r))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_relevance(case: LayerCase, name: str) -> None:
    for bias in ("absorb", "ignore"):
        rule = oracle.Rule(**{**vars(RULES[name]), "absorb_bias": bias == "absorb"})
        if rule.kind in ("norm", "pass"):
            continue
        data = layer_data(case, "signed", bias=True)
        layer = exact_layer(case, data)
        x, r = data.x.astype(np.float64), data.relevance.astype(np.float64)
        actual = function(case, "_relevance")(
            data.x, data.weight, data.bias, data.relevance, public_rule(rule), **geometry(case)
        )
        expected = layer.relevance(x, r, rule)
        if not expected.any():
            assert not actual.any()
            continue
        assert_close(actual, expected, oracle.relevance_bound(layer, x, r, rule))


def test_conv2d_is_torch_s() -> None:
    x, w, b = values(1, 2, 6, 9, 8), values(2, 4, 3, 3, 2), values(3, 4)
    options: Any = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3), "groups": 2}
    r = values(4, 2, 4, 5, 9)

    def in_torch(*arrays: Array) -> tuple[Array, Array]:
        """Output and gradient in float64."""
        given = [torch.from_numpy(a).double().requires_grad_() for a in arrays]
        y = torch.nn.functional.conv2d(*given[:3], **options)
        return y.detach().numpy(), torch.autograd.grad(y, given[0], given[3])[0].numpy()

    expected, gradient = in_torch(x, w, b, r)
    # 18 products and a bias, or at most 12 products: rounded as often, relative to their sizes.
    bounds = [19 * 2.0**-24 * size for size in in_torch(*(np.abs(a) for a in (x, w, b, r)))]
    tensors = [torch.from_numpy(a) for a in (x, w, b)]
    for args, start in (((x, w, b), r), (tensors, torch.from_numpy(r))):
        y = functional.conv2d(*args, **options)
        g = functional.conv2d_gradient(*args, start, **options)
        assert type(y) is type(g) is type(args[0])
        assert (np.abs(np.asarray(y) - expected) <= bounds[0]).all()
        assert (np.abs(np.asarray(g) - gradient) <= bounds[1]).all()
    one = functional.conv2d_relevance(*tensors, torch.from_numpy(r), rp.ZPlus(), **options)
    assert type(one) is torch.Tensor
    two = functional.conv2d_relevance(x, w, b, r, rp.AlphaBeta(1, 0), **options)
    assert np.abs(one.numpy() - two).max() <= 1e-5 * np.abs(two).max()


def test_int_and_pair_are_one() -> None:
    x, w = values(1, 1, 2, 7, 7), values(2, 3, 2, 3, 3)
    square = functional.conv2d(x, w, None, 2, 1, 2)
    assert square.any()
    assert np.array_equal(square, functional.conv2d(x, w, None, (2, 2), [1, 1], (2, 2)))


def test_changed_weights_count_at_once() -> None:
    """No plan outlives its call, so an array that is changed in place is never taken for old."""
    x, w, r = values(1, 2, 4), values(2, 3, 4), values(3, 2, 3)
    before = functional.dense_relevance(x, w, None, r, rp.Epsilon())
    w[:] = values(4, 3, 4)
    after = functional.dense_relevance(x, w, None, r, rp.Epsilon())
    assert not np.allclose(before, after)
    assert np.array_equal(after, functional.dense_relevance(x, w.copy(), None, r, rp.Epsilon()))


@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 5, 5), (1, 3, 5, 5), (5,)])
def test_box_bounds_broadcast(shape: tuple[int, ...]) -> None:
    x, w = values(1, 2, 3, 5, 5), values(2, 4, 3, 3, 3)
    r = functional.conv2d(x, w)
    low, high = -4 + values(3, *shape) / 8, 4 + values(4, *shape) / 8
    wide = [np.broadcast_to(b, (1, 3, 5, 5))[0].copy() for b in (low, high)]
    narrow = functional.conv2d_relevance(x, w, None, r, rp.ZBox(low, high))
    assert narrow.any()
    assert np.array_equal(narrow, functional.conv2d_relevance(x, w, None, r, rp.ZBox(*wide)))


def test_conservation() -> None:
    """Sum of R_i = sum of R_j without bias and stabilizer."""
    x, w = np.abs(values(1, 3, 6)), values(2, 4, 6)
    r = functional.dense(x, w)
    for rule in (rp.Epsilon(0), rp.AlphaBeta(2, 1, stabilizer=0), rp.Flat(stabilizer=0)):
        relevance = functional.dense_relevance(x, w, None, r, rule)
        assert relevance.sum() == pytest.approx(r.sum(), rel=1e-4)


def test_cast_and_empty_batch() -> None:
    x, w, b = values(1, 2, 4), values(2, 3, 4), values(3, 3)
    wide = [a.astype(np.float64) for a in (x, w, b)]
    assert np.array_equal(functional.dense(*wide, cast=True), functional.dense(x, w, b))
    assert functional.dense(x[:0], w, b).shape == (0, 3)
    empty = functional.dense_relevance(x[:0], w, b, np.zeros((0, 3), np.float32), rp.Gamma())
    assert empty.shape == (0, 4)
