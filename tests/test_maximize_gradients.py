"""What an ascent climbs: values and gradients against float64 differences and torch autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import ascent
import relprop as rp
from small import values

Array = npt.NDArray[Any]
Value = Callable[[Any], Any]

# One step of plain ascent moves x by rate * gradient. With a large rate x1 - x0 keeps the digits.
RATE = 2.0**12


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The layers are tiny: a second thread would only wait for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def one_step(model: rp.Model, objective: Any, prior: Any, x: Array) -> tuple[Array, float]:
    """The gradient at x, and the value there."""
    found = rp.ActivationMaximization(model, prior).maximize(
        objective, steps=1, restarts=1, update="ascent", rate=RATE, initial=x, n_threads=1
    )
    end = found.prototypes if found.codes is None else found.codes
    gradient = (end[0].astype(np.float64) - x) / RATE
    return gradient, float(found.history["total"][0, 0])


def check(model: rp.Model, objective: Any, prior: Any, value: Value, x: Array) -> None:
    gradient, total = one_step(model, objective, prior, x)
    exact = ascent.autograd(value, x.astype(np.float64))
    scale = np.abs(exact).max()
    assert scale > 0
    # Central differences of float64: h² of the third derivative, and 1e-16 / h.
    assert np.abs(ascent.finite_differences(value, x) - exact).max() < 1e-7 * scale
    # Torch in float32 has the same roundings; sums in another order may be a few times as far off.
    rival = np.abs(ascent.autograd(value, x) - exact).max()
    assert np.abs(gradient - exact).max() <= 4 * rival + 4e-7 * scale
    wanted = float(value(torch.from_numpy(x.astype(np.float64)[None])))
    assert abs(total - wanted) < 1e-5 * max(1, abs(wanted))


@pytest.mark.parametrize("name", ascent.OBJECTIVES)
def test_objectives(name: str) -> None:
    objective, value = ascent.OBJECTIVES[name]
    check(ascent.model(), objective, None, value, values(20, *ascent.SHAPE))


@pytest.mark.parametrize("name", ["log_probability", "logit"])
def test_a_softmax_at_the_end_is_left_out(name: str) -> None:
    objective, value = ascent.OBJECTIVES[name]
    check(ascent.model(softmax=True), objective, None, value, values(21, *ascent.SHAPE))


@pytest.mark.parametrize("name", ascent.EXPERTS)
def test_experts(name: str) -> None:
    prior, log_p = ascent.EXPERTS[name]
    objective, value = ascent.OBJECTIVES["logit"]
    check(ascent.model(), objective, prior, lambda x: value(x) + log_p(x),
          values(22, *ascent.SHAPE))  # fmt: skip


def test_where_total_variation_has_no_slope() -> None:
    """At equal neighbours the bracket is 0; with exponents below 2 its power has no gradient."""
    for exponent in (1, 1.5, 2):
        prior = rp._core.Prior((1, 3, 3))
        prior.add_total_variation(1.0, exponent)
        flat = np.ones((1, 1, 3, 3), np.float32)
        log_p, gradient = prior.evaluate(flat)
        assert log_p[0, 0] == 0
        assert not gradient.any()


def test_the_signal_form_of_total_variation() -> None:
    prior = rp._core.Prior((1, 4))
    prior.add_total_variation(0.5)
    x = np.array([[[0, 1, 3, 3]]], np.float32)
    log_p, gradient = prior.evaluate(x)
    assert log_p[0, 0] == -0.5 * (1 + 4)
    assert gradient[0, 0].tolist() == [1, 1, -2, 0]


@pytest.mark.parametrize("name", ["log_probability", "channel"])
def test_code_space(name: str) -> None:
    objective, value = ascent.OBJECTIVES[name]
    space = rp.CodeSpace(ascent.generator(), 0.05, 0.5, 0.5, picture=(2, 3, 3))
    check(ascent.model(), objective, space,
          lambda z: value(ascent.picture(z)) - 0.05 * (z**2).sum(),
          values(23, *ascent.CODE))  # fmt: skip


def linear(shape: tuple[int, ...], weight: Array) -> rp.Model:
    """f(x) = <weight, x>."""
    core = rp._core.Model(shape, "image")
    flat = core.add_reshape("flat", 0, (int(np.prod(shape)),))
    core.add_output("f", core.add_dense("f", flat, weight.reshape(1, -1)))
    return rp.Model(core)


VIEWS = [{"jitter": 3}, {"scaling": 1.4}, {"jitter": 2, "scaling": 1.2}]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_gradients_come_back_through_the_view(view: dict[str, Any]) -> None:
    """<w, V x> = <Vᵀ w, x> for a linear network, whatever V is."""
    weight, x = values(24, 3, 9, 7), values(25, 3, 9, 7)
    seen = set()
    for seed in range(8):
        found = rp.ActivationMaximization(linear(x.shape, weight), None).maximize(
            rp.objectives.Logit(0), steps=1, restarts=1, update="ascent", rate=RATE, initial=x,
            seed=seed, n_threads=1, **view,
        )  # fmt: skip
        gradient = (found.prototypes[0].astype(np.float64) - x) / RATE
        value = found.history["objective"][0, 0]
        products = np.abs(gradient * x).sum()
        assert abs((gradient * x).sum() - value) < 1e-6 * products
        seen.add(gradient.tobytes())
        if view == {"jitter": 3}:
            assert any(
                np.allclose(gradient, np.roll(weight, (-dy, -dx), (1, 2)), atol=1e-6)
                for dy in range(-3, 4)
                for dx in range(-3, 4)
            )
        # The prior and the end see x itself.
        end = (weight.astype(np.float64) * found.prototypes[0]).sum()
        assert np.isclose(found.history["objective"][0, -1], end, rtol=1e-5)
    assert len(seen) > 4


def test_resizing_keeps_what_is_constant() -> None:
    shape = (1, 8, 8)
    weight = values(26, *shape)
    found = rp.ActivationMaximization(linear(shape, weight), None).maximize(
        rp.objectives.Logit(0), steps=1, restarts=1, initial=np.ones(shape, np.float32), scaling=1.5
    )
    assert np.isclose(found.history["objective"][0, 0], weight.sum(dtype=np.float64), rtol=1e-5)


def test_blur() -> None:
    shape, sigma = (2, 7, 9), 1.3
    x = values(27, *shape)
    found = rp.ActivationMaximization(linear(shape, np.zeros(shape, np.float32)), None).maximize(
        rp.objectives.Logit(0), steps=3, restarts=1, update="ascent", initial=x, blur=sigma,
        blur_steps=2, patience=None,
    )  # fmt: skip
    reach = np.arange(-4, 5)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    kernel /= kernel.sum()
    wanted = x.astype(np.float64)
    for axis in (1, 2):
        padded = np.pad(wanted, [(4, 4) if k == axis else (0, 0) for k in range(3)], mode="edge")
        moved = [np.take(padded, range(k, k + shape[axis]), axis) for k in range(9)]
        wanted = sum(w * m for w, m in zip(kernel, moved, strict=True))
    assert np.abs(found.prototypes[0] - wanted).max() < 1e-6
