"""The Gaussian RBM against brute force on machines with few hidden units, and its training."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from relprop import _rbm


def machine(rng: np.random.Generator, visible: int = 5, hidden: int = 7) -> _rbm.RBM:
    return _rbm.RBM(
        W=(0.8 * rng.standard_normal((visible, hidden))).astype(np.float32),
        visible_bias=rng.standard_normal(visible).astype(np.float32),
        hidden_bias=rng.standard_normal(hidden).astype(np.float32),
        sigma=rng.uniform(0.3, 1.5, visible).astype(np.float32),
    )


def hidden_states(rbm: _rbm.RBM) -> np.ndarray:
    return np.array(list(itertools.product([0.0, 1.0], repeat=rbm.W.shape[1])))


def energy(rbm: _rbm.RBM, x: np.ndarray, h: np.ndarray) -> float:
    distance = ((x - rbm.visible_bias) ** 2 / (2.0 * rbm.sigma.astype(float) ** 2)).sum()
    return float(distance - rbm.hidden_bias @ h - (x / rbm.sigma) @ rbm.W.astype(float) @ h)


def log_sum_exp(values: np.ndarray) -> float:
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum()))


def exact_log_partition(rbm: _rbm.RBM) -> float:
    """The sum over all hidden states; the integral over x is a Gaussian one for each of them."""
    states = hidden_states(rbm)
    mean = states @ rbm.W.T.astype(float)
    exponent = states @ rbm.hidden_bias + mean @ (rbm.visible_bias / rbm.sigma)
    volume = np.log(math.sqrt(2 * math.pi) * rbm.sigma.astype(float)).sum()
    return float(volume) + log_sum_exp(exponent + (mean**2).sum(1) / 2)


def two_clusters(rng: np.random.Generator, n: int = 200) -> np.ndarray:
    """Two patterns of six values with noise: no Gaussian, but easy for two hidden units."""
    patterns = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], float)
    return patterns[rng.integers(0, 2, n)] + 0.3 * rng.standard_normal((n, 6))


def test_log_density_sums_the_hidden_states(rng: np.random.Generator) -> None:
    rbm = machine(rng)
    for x in rng.standard_normal((4, 5)):
        expected = log_sum_exp(np.array([-energy(rbm, x, h) for h in hidden_states(rbm)]))
        # 1e-6: the parameters are float32, the sums float64.
        assert rbm.log_density(x[None])[0] == pytest.approx(expected, rel=1e-6)
        assert rbm.free_energy(x[None])[0] == -rbm.log_density(x[None])[0]


def test_conditionals_are_those_of_the_joint_density(rng: np.random.Generator) -> None:
    rbm = machine(rng)
    x = rng.standard_normal(5).astype(np.float32)
    states = hidden_states(rbm)
    weights = np.exp([-energy(rbm, x, h) for h in states])
    assert rbm.hidden_probability(x[None])[0] == pytest.approx(
        weights @ states / weights.sum(), abs=1e-5
    )
    # Given h the density of x is Gaussian, so its mean is where the energy's slope vanishes.
    h = states[37]
    mean = rbm.visible_mean(h[None].astype(np.float32))[0].astype(float)
    for step in 0.1 * np.eye(5):
        up, down = energy(rbm, mean + step, h), energy(rbm, mean - step, h)
        assert up == pytest.approx(down, abs=1e-5)


def test_annealed_importance_sampling_finds_the_exact_log_partition(
    rng: np.random.Generator,
) -> None:
    rbm = machine(rng)
    estimate = _rbm.log_partition(rbm, chains=400, temperatures=400)
    exact = exact_log_partition(rbm)
    assert estimate.low <= exact <= estimate.high
    # The interval itself has to be narrow for this to say anything.
    assert estimate.high - estimate.low < 0.5
    assert estimate.low < estimate.value < estimate.high


def test_gibbs_sampling_has_the_moments_of_the_density(rng: np.random.Generator) -> None:
    rbm = machine(rng, visible=2, hidden=3)
    states = hidden_states(rbm)
    mean = states @ rbm.W.T.astype(float)
    exponent = states @ rbm.hidden_bias + mean @ (rbm.visible_bias / rbm.sigma)
    weight = np.exp(exponent + (mean**2).sum(1) / 2)
    means = rbm.visible_bias + rbm.sigma * mean
    expected = weight @ means / weight.sum()
    spread = weight @ (means**2) / weight.sum() - expected**2 + rbm.sigma**2
    x = rbm.gibbs(np.zeros((20_000, 2), np.float32), 50, rng)
    # Five standard errors of the mean of independent chains.
    assert np.all(np.abs(x.mean(0) - expected) < 5 * np.sqrt(spread / len(x)))
    assert x.var(0) == pytest.approx(spread, rel=0.1)


def test_training_raises_the_likelihood(rng: np.random.Generator) -> None:
    data, fresh = two_clusters(rng), two_clusters(rng)

    def likelihood(epochs: int, rate: float) -> float:
        rbm = _rbm.fit(data, 2, sigma=0.3, epochs=epochs, batch_size=20, learning_rate=rate)
        return float(rbm.log_density(fresh).mean()) - exact_log_partition(rbm)

    before, after = likelihood(1, 0.0), likelihood(100, 0.02)
    gaussian = data.mean(0), data.var(0)
    plain = -(((fresh - gaussian[0]) ** 2) / gaussian[1] + np.log(2 * np.pi * gaussian[1])) / 2
    assert after > before + 1
    assert after > plain.sum(1).mean() + 1  # better than independent Gaussians


def test_training_is_repeatable_and_the_seed_matters(rng: np.random.Generator) -> None:
    data = two_clusters(rng)
    first, again, other = (_rbm.fit(data, 3, epochs=2, batch_size=20, seed=s) for s in (1, 1, 2))
    for field in fields(_rbm.RBM):
        values = getattr(first, field.name)
        assert values.dtype == np.float32
        assert values.tobytes() == getattr(again, field.name).tobytes()
    assert first.W.shape == (6, 3)
    assert not np.array_equal(first.W, other.W)
    one, two = (_rbm.log_partition(first, chains=5, temperatures=5, seed=4) for _ in range(2))
    assert one == two


def test_training_leaves_the_data_and_sigma_alone(rng: np.random.Generator) -> None:
    data, sigma = two_clusters(rng).astype(np.float32), np.full(6, 0.3, np.float32)
    before = data.copy(), sigma.copy()
    rbm = _rbm.fit(data, 2, sigma=sigma, epochs=1, batch_size=20)
    rbm.sigma[:] = 1
    assert np.array_equal(data, before[0])
    assert np.array_equal(sigma, before[1])


DATA = np.eye(4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros(4)}, ValueError, r"x has shape \(4,\); accepted: \(N, visible\)"),
        ({"x": np.zeros((0, 4))}, ValueError, r"x has shape \(0, 4\)"),
        ({"x": DATA * np.nan}, ValueError, "x has NaN or infinite values"),
        ({"x": DATA * 1e300}, ValueError, "x has NaN or infinite values"),
        ({"x": DATA * 1j}, TypeError, "x has dtype complex128"),
        ({"x": np.ones((4, 4))}, ValueError, "x is constant"),
        ({"n_hidden": 0}, ValueError, "n_hidden = 0; accepted: at least 1"),
        ({"n_hidden": 2.0}, TypeError, "n_hidden = 2.0; accepted: an integer"),
        ({"epochs": 0}, ValueError, "epochs = 0"),
        ({"batch_size": 5}, ValueError, "batch_size = 5; accepted: at least 1, at most 4"),
        ({"learning_rate": -1}, ValueError, "learning_rate = -1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate = 'fast'"),
        ({"weight_decay": float("nan")}, ValueError, "weight_decay = nan"),
        ({"activity": 1.0}, ValueError, "activity = 1.0; accepted: above 0 and below 1"),
        ({"sigma": 0.0}, ValueError, "accepted: sigma > 0"),
        ({"sigma": 1e-60}, ValueError, "accepted: sigma > 0"),
        ({"sigma": np.ones(3)}, ValueError, r"shape \(3,\); accepted: a number or an array"),
        ({"learning_rate": 1e30}, FloatingPointError, "ran away from the data in epoch 1"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"x": DATA, "n_hidden": 2, "batch_size": 2, "epochs": 1, **arguments}
    with pytest.raises(error, match=message):
        _rbm.fit(**given)


@pytest.mark.parametrize("arguments", [{"chains": 1}, {"temperatures": 0}])
def test_bad_counts_of_the_estimate_are_refused(
    arguments: dict[str, Any], rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match="accepted: at least"):
        _rbm.log_partition(machine(rng), **arguments)
