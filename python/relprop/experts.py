"""Priors of activation maximization: what is known of inputs before any network is asked.

Each is a log-density of the input, up to a constant, and is added to the objective. Arrays may be
NumPy arrays or CPU torch tensors of any floating point type; they are rounded to float32.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import _core
from relprop._arrays import Array, FloatArray, floats, is_tensor, real_values

__all__ = ["L2", "Expert", "Function", "Gaussian", "GaussianRBM", "Product", "TotalVariation"]

DoubleArray = npt.NDArray[np.float64]


class Expert:
    """What all experts share."""

    #: Its key in `Prototypes.history`.
    name = "expert"
    #: Whether its parameters were given as torch tensors.
    from_torch = False

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """Adds weight times this log-density to a prior of the engine; returns the terms' names.

        Raises:
            ValueError: parameters that do not fit the prior's input shape.
        """
        raise NotImplementedError

    def _parameter(self, value: Array, name: str) -> FloatArray:
        self.from_torch |= is_tensor(value)
        return real_values(value, f"{type(self).__name__}: {name}")

    def _spread(self, value: FloatArray | None, shape: tuple[int, ...], name: str) -> Any:
        """The parameter as one value per input value."""
        if value is None:
            return None
        try:
            spread = np.broadcast_to(value, shape)
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__}: {name} has shape {value.shape}; accepted: what "
                f"broadcasts to the input {shape}"
            ) from error
        return np.ascontiguousarray(spread)


class L2(Expert):
    """-lam · ‖x - mean‖² (Montavon, Samek, Müller 2017, section 3.1).

    Args:
        lam: λ, at least 0.
        mean: an array that broadcasts to the input, or a number; default: 0.

    Raises:
        TypeError, ValueError: λ < 0, NaN.
    """

    name = "l2"

    def __init__(self, lam: float = 0.001, mean: Array | float | None = None) -> None:
        self.lam = _number(lam, "L2: lam")
        self.mean = None if mean is None else self._parameter(mean, "mean")

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        prior.add_l2(self.lam, self._spread(self.mean, prior.shape, "mean"), weight)
        return [self.name]


class TotalVariation(Expert):
    """-lam · Σ ((x_right - x)² + (x_below - x)²)^(exponent/2), summed over channels and positions.

    A. Mahendran, A. Vedaldi, "Understanding deep image representations by inverting them", 2015,
    section 3. For inputs (C, H, W) or (C, L).

    Args:
        lam: λ, at least 0.
        exponent: β, at least 1.

    Raises:
        TypeError, ValueError: λ < 0, β < 1, NaN.
    """

    name = "total_variation"

    def __init__(self, lam: float = 0.01, exponent: float = 2.0) -> None:
        self.lam = _number(lam, "TotalVariation: lam")
        self.exponent = _number(exponent, "TotalVariation: exponent", 1)

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        prior.add_total_variation(self.lam, self.exponent, weight)
        return [self.name]


class Gaussian(Expert):
    """-weight/2 · (x - mean)ᵀ C⁻¹ (x - mean).

    Args:
        mean: an array that broadcasts to the input, or a number.
        variance: the diagonal of C: positive, broadcasts to the input.
        covariance: C, (D, D) for inputs of D values, symmetric and positive definite.
        weight: factor of the log-density.

    Raises:
        TypeError, ValueError: neither or both of variance and covariance; variances that are not
            positive; NaN.
    """

    name = "gaussian"

    def __init__(
        self,
        mean: Array | float = 0.0,
        variance: Array | float | None = None,
        covariance: Array | None = None,
        weight: float = 1.0,
    ) -> None:
        if (variance is None) == (covariance is None):
            raise ValueError("Gaussian: accepted: either variance or covariance")
        self.mean = self._parameter(mean, "mean")
        self.variance = None if variance is None else self._parameter(variance, "variance")
        self.covariance = None if covariance is None else self._parameter(covariance, "covariance")
        self.weight = _number(weight, "Gaussian: weight")
        if self.variance is not None:
            _check_positive(self.variance, "Gaussian: variance")
        if self.covariance is not None and (
            self.covariance.ndim != 2 or self.covariance.shape[0] != self.covariance.shape[1]
        ):
            raise ValueError(
                f"Gaussian: covariance has shape {self.covariance.shape}; accepted: (D, D)"
            )

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        size = int(np.prod(prior.shape))
        if self.covariance is not None and len(self.covariance) != size:
            raise ValueError(
                f"Gaussian: covariance has shape {self.covariance.shape}; accepted: "
                f"({size}, {size}) for inputs {prior.shape}"
            )
        prior.add_gaussian(
            self._spread(self.mean, prior.shape, "mean"),
            self._spread(self.variance, prior.shape, "variance"),
            self.covariance,
            self.weight * weight,
        )
        return [self.name]


class GaussianRBM(Expert):
    """A Gaussian-Bernoulli restricted Boltzmann machine: real visible, binary hidden units.

    log p(x) = Σ_j softplus(c_j + Σ_i x_i W_ij / σ_i) - Σ_i (x_i - a_i)² / (2 σ_i²) + constant
    (Montavon, Samek, Müller 2017, section 3.2; G. Hinton, "A practical guide to training restricted
    Boltzmann machines", 2010, section 13.2).

    Args:
        W: (visible, hidden).
        visible_bias: a, (visible,).
        hidden_bias: c, (hidden,).
        sigma: σ, positive: (visible,) or a number.

    Raises:
        TypeError, ValueError: shapes that do not fit, σ that is not positive, NaN.
    """

    name = "gaussian_rbm"

    def __init__(
        self, W: Array, visible_bias: Array, hidden_bias: Array, sigma: Array | float = 1.0
    ) -> None:
        self.W = self._parameter(W, "W")
        self.visible_bias = self._parameter(visible_bias, "visible_bias")
        self.hidden_bias = self._parameter(hidden_bias, "hidden_bias")
        self.sigma = self._parameter(sigma, "sigma")
        if self.W.ndim != 2 or 0 in self.W.shape:
            raise ValueError(
                f"GaussianRBM: W has shape {self.W.shape}; accepted: (visible, hidden)"
            )
        visible, hidden = self.W.shape
        if self.sigma.ndim == 0:
            self.sigma = np.full(visible, self.sigma, np.float32)
        for name, size in (("visible_bias", visible), ("hidden_bias", hidden), ("sigma", visible)):
            shape = getattr(self, name).shape
            if shape != (size,):
                raise ValueError(
                    f"GaussianRBM: {name} has shape {shape}; accepted: ({size},) beside W "
                    f"{self.W.shape}"
                )
        _check_positive(self.sigma, "GaussianRBM: sigma")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GaussianRBM:
        """Reads what `save` wrote: an .npz file with W, visible_bias, hidden_bias and sigma.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not such a file.
        """
        names = ("W", "visible_bias", "hidden_bias", "sigma")
        with Path(path).open("rb") as file:
            try:
                with np.load(file, allow_pickle=False) as data:
                    missing = [name for name in names if name not in data]
                    arrays = {name: data[name] for name in names if not missing}
            except (ValueError, OSError, AttributeError, TypeError) as error:
                raise ValueError(f"{path}: not a readable .npz file: {error}") from error
        if missing:
            raise ValueError(f"{path}: no {', '.join(missing)}; accepted: {', '.join(names)}")
        try:
            return cls(**arrays)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error

    @classmethod
    def fit(
        cls,
        x: Array,
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
    ) -> GaussianRBM:
        """Trains a machine on data by persistent contrastive divergence with centred gradients.

        T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood
        gradient", 2008; G. Montavon, K.-R. Müller, "Deep Boltzmann machines and the centering
        trick", 2012.

        Args:
            x: data, (N, ...), real and finite; the values of a sample are the visible units.
            n_hidden: number of hidden units.
            sigma: noise of the visible units in the units of x, a number or one per unit; it is not
                learned. Default: half of the root mean square of their standard deviations.
            epochs: passes over the data.
            batch_size: samples per step, and the number of Markov chains; at most N.
            learning_rate: of the first step; it falls linearly to zero.
            weight_decay: share of W that a step of rate 1 takes away.
            activity: probability of the hidden units at the mean of the data before training.
            seed: the same seed gives the same parameters on the same machine.
            progress: show a bar (needs tqdm).

        Raises:
            TypeError, ValueError: data or a parameter outside what is accepted.
            FloatingPointError: the chains ran away from the data: the learning rate is too high.
        """
        from relprop import _rbm

        data = real_values(x, "x")
        found = _rbm.fit(
            data.reshape(len(data), -1) if data.ndim > 1 and len(data) else data,
            n_hidden,
            sigma=sigma,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            activity=activity,
            seed=seed,
            progress=progress,
        )
        rbm = cls(found.W, found.visible_bias, found.hidden_bias, found.sigma)
        rbm.from_torch = is_tensor(x)
        return rbm

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the parameters, float32, as .npz.

        Raises:
            OSError: the file cannot be written.
        """
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file,
                W=self.W,
                visible_bias=self.visible_bias,
                hidden_bias=self.hidden_bias,
                sigma=self.sigma,
            )

    def log_density(self, x: Array, *, n_threads: int | None = None) -> Array:
        """log p(x) up to the constant that all x share.

        Args:
            x: (N, ...) with as many values per sample as there are visible units, float32.

        Returns:
            (N,), float64, of the kind of x.

        Raises:
            TypeError, ValueError: another dtype or size, NaN.
        """
        from relprop.model import checked_threads

        given = floats(x, "x")
        visible = len(self.visible_bias)
        samples = given.values.reshape(len(given.values), -1) if given.values.ndim else None
        if samples is None or samples.shape[1] != visible:
            raise ValueError(
                f"x has shape {given.values.shape}; accepted: (N, ...) with {visible} values each"
            )
        prior = _core.Prior((visible,))
        self.add_to(prior)
        log_p, _ = prior.evaluate(np.ascontiguousarray(samples), checked_threads(n_threads))
        result: Any = np.ascontiguousarray(log_p[:, 0])
        return given.restore(result)

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        if int(np.prod(prior.shape)) != len(self.visible_bias):
            raise ValueError(
                f"GaussianRBM: {len(self.visible_bias)} visible units for inputs {prior.shape}; "
                f"accepted: {int(np.prod(prior.shape))}"
            )
        prior.add_gaussian_rbm(self.W, self.visible_bias, self.hidden_bias, self.sigma, weight)
        return [self.name]


class Function(Expert):
    """Any Python function as a log-density: general, and slow, as it is called row by row.

    Args:
        function: takes one x, a float32 NumPy array of the input's shape, and returns (log p, its
            gradient), a number and an array of that shape. May raise; that ends the ascent.
    """

    name = "function"

    def __init__(self, function: Callable[[FloatArray], tuple[float, npt.ArrayLike]]) -> None:
        if not callable(function):
            raise TypeError(
                f"Function: function is of type {type(function).__name__}; accepted: a callable"
            )
        self.function = function

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        prior.add_log_density(_checked_function(self.function, prior.shape), weight)
        return [self.name]


class Product(Expert):
    """A product of experts: the sum of their weighted log-densities.

    Args:
        experts: experts or callables (see `Function`).
        weights: one per expert, at least 0; default: 1.

    Raises:
        TypeError, ValueError: what is no expert, another number of weights, weights below 0.
    """

    name = "product"

    def __init__(
        self, experts: Sequence[Expert | Callable[..., Any]], weights: Sequence[float] | None = None
    ) -> None:
        self.experts = [as_expert(expert) for expert in experts]
        given = [1.0] * len(self.experts) if weights is None else list(weights)
        if not self.experts or len(given) != len(self.experts):
            raise ValueError(
                f"Product: {len(self.experts)} experts and {len(given)} weights; accepted: one "
                "weight per expert, and at least one expert"
            )
        self.weights = [_number(weight, "Product: weights") for weight in given]
        self.from_torch = any(expert.from_torch for expert in self.experts)

    def add_to(self, prior: _core.Prior, weight: float = 1.0) -> list[str]:
        """See `Expert.add_to`."""
        names: list[str] = []
        for expert, own in zip(self.experts, self.weights, strict=True):
            names += expert.add_to(prior, own * weight)
        return names


def as_expert(prior: object) -> Expert:
    """The expert that a prior argument means: itself, or a callable.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(prior, Expert):
        return prior
    if callable(prior) and not inspect.isclass(prior):
        return Function(prior)
    kind = prior.__name__ if inspect.isclass(prior) else type(prior).__name__
    raise TypeError(
        f"prior is {'the class' if inspect.isclass(prior) else 'of type'} {kind}; accepted: an "
        "expert such as rp.experts.L2(0.01), rp.CodeSpace(...), a callable, or None"
    )


def _checked_function(
    function: Callable[[FloatArray], Any], shape: tuple[int, ...]
) -> Callable[[FloatArray], tuple[float, FloatArray]]:
    def call(x: FloatArray) -> tuple[float, FloatArray]:
        result = function(x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"the log-density returned {type(result).__name__}; accepted: (log p, gradient)"
            )
        log_p, gradient = float(result[0]), real_values(result[1], "gradient of the log-density")
        if gradient.shape != shape:
            raise ValueError(
                f"gradient of the log-density has shape {gradient.shape}; accepted: {shape}"
            )
        return log_p, np.ascontiguousarray(gradient)

    return call


def _number(value: object, what: str, low: float = 0.0) -> float:
    accepted = f"accepted: a finite number, at least {low:g}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{what} is of type {type(value).__name__}; {accepted}")
    if not low <= float(value) < float("inf"):
        raise ValueError(f"{what} = {value!r}; {accepted}")
    return float(value)


def _check_positive(values: FloatArray, what: str) -> None:
    if not (values > 0).all():
        raise ValueError(f"{what} holds {values.min()}; accepted: values above 0")
