"""Gaussian restricted Boltzmann machines with binary hidden units, in NumPy.

    log p(x) = Σ_j softplus(c_j + Σ_i x_i W_ij / σ_i) - Σ_i (x_i - a_i)² / (2σ_i²) - log Z

W (visible, hidden), a the visible bias, c the hidden bias, σ the noise of each visible unit. Given
x the hidden units are independent, p(h_j = 1 | x) = sigmoid(c_j + Σ_i x_i W_ij / σ_i), and given h
so are the visible ones, x_i ~ N(a_i + σ_i Σ_j W_ij h_j, σ_i²). Hinton, Salakhutdinov 2006,
"Reducing the dimensionality of data with neural networks"; Krizhevsky 2009, "Learning multiple
layers of features from tiny images", section 1.4.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import _progress

FloatArray = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RBM:
    """Parameters, float32: W (visible, hidden), the biases and sigma one per unit, sigma > 0."""

    W: FloatArray
    visible_bias: FloatArray
    hidden_bias: FloatArray
    sigma: FloatArray

    def log_density(self, x: npt.ArrayLike) -> Numbers:
        """log p(x) + log Z, float64 (N,), for x (N, visible): minus the free energy."""
        x = np.asarray(x, np.float64)
        activation = self.hidden_bias + (x / self.sigma) @ self.W.astype(np.float64)
        distance = (x - self.visible_bias) / self.sigma.astype(np.float64)
        result: Numbers = np.logaddexp(0, activation).sum(1) - (distance**2).sum(1) / 2
        return result

    def free_energy(self, x: npt.ArrayLike) -> Numbers:
        """-log Σ_h exp(-E(x, h)), float64 (N,), for x (N, visible)."""
        return -self.log_density(x)

    def activation(self, x: FloatArray) -> FloatArray:
        """c_j + Σ_i x_i W_ij / σ_i, (N, hidden), for x (N, visible)."""
        scaled: FloatArray = x / self.sigma
        return self.hidden_bias + scaled @ self.W

    def hidden_probability(self, x: FloatArray) -> FloatArray:
        """p(h_j = 1 | x), (N, hidden), for x (N, visible)."""
        return sigmoid(self.activation(x))

    def visible_mean(self, h: FloatArray) -> FloatArray:
        """The mean of x given h, (N, visible), for h (N, hidden)."""
        result: FloatArray = self.visible_bias + self.sigma * (h @ self.W.T)
        return result

    def visible_sample(self, h: FloatArray, rng: np.random.Generator) -> FloatArray:
        """x given h, (N, visible), for h (N, hidden)."""
        mean = self.visible_mean(h)
        return mean + self.sigma * rng.standard_normal(mean.shape, np.float32)

    def gibbs(self, x: FloatArray, steps: int, rng: np.random.Generator) -> FloatArray:
        """Moves every row of x, (N, visible), by so many rounds of block Gibbs sampling."""
        for _ in range(steps):
            x = self.visible_sample(draw(self.hidden_probability(x), rng), rng)
        return x

    def reconstruction(self, x: FloatArray) -> FloatArray:
        """The mean of x given the hidden units' probabilities given x, (N, visible)."""
        return self.visible_mean(self.hidden_probability(x))


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z and the interval of three standard errors of Z around it, in nats."""

    value: float
    low: float
    high: float


def fit(
    x: npt.ArrayLike,
    n_hidden: int,
    *,
    sigma: float | npt.ArrayLike | None = None,
    epochs: int = 50,
    batch_size: int = 100,
    learning_rate: float = 0.01,
    weight_decay: float = 1e-4,
    activity: float = 0.1,
    seed: int = 0,
    progress: bool = False,
) -> RBM:
    """Trains by persistent contrastive divergence with centred gradients.

    As many Markov chains as a batch has samples run through the whole training, one round of Gibbs
    sampling per step (Tieleman 2008, "Training restricted Boltzmann machines using approximations
    to the likelihood gradient"). Units are centred by the mean over data and chains (Montavon,
    Müller 2012, "Deep Boltzmann machines and the centering trick"; Melchior, Fischer, Wiskott 2016,
    "How to center deep Boltzmann machines"). The learning rate falls linearly to zero.

    Args:
        x: data, (N, visible), real and finite.
        n_hidden: number of hidden units.
        sigma: noise of the visible units in the units of x, one number or (visible,); it is not
            learned. Default: half of the root mean square of the columns' standard deviations.
        epochs: passes over the data.
        batch_size: samples per step, and the number of chains; at most N.
        learning_rate: of the first step.
        weight_decay: share of W that a step of rate 1 takes away.
        activity: probability, between 0 and 1, of the hidden units at the mean of the data before
            training. Units that are mostly off become strokes; with 0.5 the machine first learns
            each picture's negative, too, and takes longer.
        seed: the same seed gives the same parameters on the same machine.
        progress: show a bar (needs tqdm).

    Raises:
        TypeError: data that are not real numbers, or a count that is not an integer.
        ValueError: data of another rank, empty, constant without a sigma, or not finite; a sigma
            that is not positive or of another size; a count or a rate outside its range.
        FloatingPointError: the chains ran away from the data: the learning rate is too high.
    """
    data = _checked_data(x)
    batch_size = _count("batch_size", batch_size, len(data))
    n_hidden, epochs = _count("n_hidden", n_hidden), _count("epochs", epochs)
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        _check_rate(name, value)
    noise = _checked_sigma(sigma, data)
    if not 0 < activity < 1:
        raise ValueError(f"activity = {activity!r}; accepted: above 0 and below 1")
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((data.shape[1], n_hidden), np.float32) * np.float32(0.01)
    mean = data.mean(0)
    offset = np.float32(math.log(activity / (1 - activity)))
    rbm = RBM(weights, mean.copy(), offset - (mean / noise) @ weights, noise)
    reach = 10 * float(np.mean((data - mean) ** 2, dtype=np.float64) + np.mean(noise**2))
    chains = data[rng.permutation(len(data))[:batch_size]]
    steps = len(data) // batch_size
    rounds: Iterable[int] = range(epochs)
    if progress:
        rounds = _progress.bar(rounds, epochs, "epoch")
    for epoch in rounds:
        order = rng.permutation(len(data))[: steps * batch_size].reshape(steps, batch_size)
        for step, batch in enumerate(order):
            rate = learning_rate * (1 - (epoch * steps + step) / (epochs * steps))
            with np.errstate(over="ignore", invalid="ignore"):  # reported below
                chains = rbm.gibbs(chains, 1, rng)
                _ascend(rbm, data[batch], chains, np.float32(rate), np.float32(weight_decay))
        with np.errstate(over="ignore", invalid="ignore"):
            apart = float(np.mean((chains - mean) ** 2))
        if not apart < reach:  # true for NaN, too
            raise FloatingPointError(
                f"the chains ran away from the data in epoch {epoch + 1} with learning_rate = "
                f"{learning_rate!r}; try a smaller one"
            )
    return rbm


def log_partition(
    rbm: RBM,
    *,
    chains: int = 100,
    temperatures: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> LogPartition:
    """Estimates log Z by annealed importance sampling.

    Salakhutdinov, Murray 2008, "On the quantitative analysis of deep belief networks". The
    intermediate densities have W and the hidden bias multiplied by β = 0 ... 1; at 0 the visible
    units are N(a, σ²), whose log Z is known. log p(x) = log_density(x) - value.

    Args:
        rbm: the machine.
        chains: independent runs, which the estimate is the mean of.
        temperatures: steps from β = 0 to 1, the more the better.
        seed: of the samples.
        progress: show a bar (needs tqdm).

    Raises:
        TypeError: a count that is not an integer.
        ValueError: fewer than two chains, or fewer than one temperature.
    """
    chains, temperatures = _count("chains", chains, low=2), _count("temperatures", temperatures)
    rng = np.random.default_rng(seed)
    visible, hidden = rbm.W.shape
    x = rbm.visible_bias + rbm.sigma * rng.standard_normal((chains, visible), np.float32)
    log_weight = np.zeros(chains)
    steps: Iterable[int] = range(1, temperatures + 1)
    if progress:
        steps = _progress.bar(steps, temperatures, "temperature")
    for step in steps:
        low, high = (np.float32((step - i) / temperatures) for i in (1, 0))
        activation = rbm.activation(x)
        gain = np.logaddexp(0, high * activation) - np.logaddexp(0, low * activation)
        log_weight += gain.sum(1, dtype=np.float64)
        # With βW for W the mean of x given h is that of βh.
        x = rbm.visible_sample(high * draw(sigmoid(high * activation), rng), rng)
    gaussian = visible * math.log(2 * math.pi) / 2 + np.log(rbm.sigma, dtype=np.float64).sum()
    start = float(gaussian) + hidden * math.log(2)
    top = float(log_weight.max())
    ratio = np.exp(log_weight - top)
    error = 3 * float(ratio.std(ddof=1)) / math.sqrt(chains)
    mean_ratio = float(ratio.mean())
    low_ratio = mean_ratio - error
    return LogPartition(
        start + top + math.log(mean_ratio),
        start + top + math.log(low_ratio) if low_ratio > 0 else -math.inf,
        start + top + math.log(mean_ratio + error),
    )


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow."""
    half = np.float32(0.5)
    result: FloatArray = half + half * np.tanh(half * x)
    return result


def draw(probability: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Zeros and ones, float32, of these probabilities."""
    return (rng.random(probability.shape, np.float32) < probability).astype(np.float32)


def _ascend(
    rbm: RBM, data: FloatArray, chains: FloatArray, rate: np.float32, decay: np.float32
) -> None:
    """One step up the likelihood, in place. Units are centred at the mean of both phases."""
    n = np.float32(len(data))
    v0, v1 = data / rbm.sigma, chains / rbm.sigma
    h0, h1 = rbm.hidden_probability(data), rbm.hidden_probability(chains)
    visible = (v0.mean(0) + v1.mean(0)) / 2
    hidden = (h0.mean(0) + h1.mean(0)) / 2
    weights = ((v0 - visible).T @ (h0 - hidden) - (v1 - visible).T @ (h1 - hidden)) / n
    # In units of sigma the visible bias is a/σ and its gradient <v>_data - <v>_chains.
    bias = v0.mean(0) - v1.mean(0) - weights @ hidden
    rbm.hidden_bias[...] += rate * (h0.mean(0) - h1.mean(0) - visible @ weights)
    rbm.visible_bias[...] += rate * rbm.sigma * bias
    rbm.W[...] += rate * (weights - decay * rbm.W)


def _checked_data(x: npt.ArrayLike) -> FloatArray:
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"x has dtype {array.dtype}; accepted: real numbers")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"x has shape {array.shape}; accepted: (N, visible), N and visible > 0")
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(data).all():
        raise ValueError("x has NaN or infinite values; accepted: finite values")
    return data


def _checked_sigma(sigma: float | npt.ArrayLike | None, data: FloatArray) -> FloatArray:
    visible = data.shape[1]
    if sigma is None:
        spread = math.sqrt(float(data.var(0, dtype=np.float64).mean()))
        if spread == 0:
            raise ValueError("x is constant, so that sigma has no default; give sigma")
        return np.full(visible, spread / 2, np.float32)
    given: npt.NDArray[Any] = np.asarray(sigma)
    if given.dtype.kind not in "iuf" or given.shape not in ((), (visible,)):
        raise ValueError(
            f"sigma has dtype {given.dtype} and shape {given.shape}; accepted: a number or an "
            f"array of shape ({visible},)"
        )
    if not (np.isfinite(given).all() and (given.astype(np.float32) > 0).all()):
        raise ValueError("sigma has values that are not finite and positive; accepted: sigma > 0")
    return np.broadcast_to(given.astype(np.float32), (visible,)).copy()


def _count(name: str, value: object, high: int | None = None, low: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r}; accepted: an integer")
    count = int(value)
    if count < low or (high is not None and count > high):
        most = "" if high is None else f", at most {high} (the number of samples)"
        raise ValueError(f"{name} = {value!r}; accepted: at least {low}{most}")
    return count


def _check_rate(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r}; accepted: a number")
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} = {value!r}; accepted: a finite number >= 0")
