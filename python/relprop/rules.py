"""Propagation rules as plain, checked data: how one layer hands relevance to its inputs.

Formulas in full are in docs/rules.md. st(z) = z + stabilizer * sign(z) with sign(0) = +1.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from relprop import _core

Bias = Literal["absorb", "ignore"]
FloatArray = npt.NDArray[np.float32]

_LARGEST = float(np.finfo(np.float32).max)


def _check_number(rule: object, name: str, low: float = 0.0) -> None:
    value = getattr(rule, name)
    label = f"{type(rule).__name__}: {name} = {value!r}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{label}; accepted: a number")
    if not low <= float(value) <= _LARGEST:  # false for NaN
        raise ValueError(f"{label}; accepted: a finite number >= {low:g}")


@dataclass(frozen=True)
class Rule:
    """What all rules share.

    Args:
        bias: "absorb" lets the bias take its share of the relevance, "ignore" leaves it out of
            every denominator.
    """

    bias: Bias = field(default="absorb", kw_only=True)

    def __post_init__(self) -> None:
        if self.bias not in ("absorb", "ignore"):
            name = type(self).__name__
            raise ValueError(f"{name}: bias = {self.bias!r}; accepted: 'absorb' or 'ignore'")


@dataclass(frozen=True)
class _Stabilized(Rule):
    stabilizer: float = field(default=1e-6, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self, "stabilizer")


@dataclass(frozen=True)
class Epsilon(Rule):
    """R_i = x ⊙ Wᵀ[R / st(Wx + b)], with epsilon as the stabilizer.

    Bach et al. 2015, "On pixel-wise explanations", equation 58.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self, "epsilon")


@dataclass(frozen=True)
class ZPlus(_Stabilized):
    """Only evidence in favour: α-β with α = 1, β = 0.

    Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor
    decomposition", the z⁺-rule; here for inputs of any sign.
    """


@dataclass(frozen=True)
class AlphaBeta(_Stabilized):
    """α times the positive contributions' shares minus β times the negative ones'.

    R_i = α (x⁺ ⊙ W⁺ᵀ + x⁻ ⊙ W⁻ᵀ)[R / st(zp)] - β (x⁺ ⊙ W⁻ᵀ + x⁻ ⊙ W⁺ᵀ)[R / st(zn)]
    Bach et al. 2015, equation 60; Montavon, Samek, Müller 2017, "Methods for interpreting and
    understanding deep neural networks", section 5.1.

    Raises:
        ValueError: unless alpha - beta = 1 and beta >= 0.
    """

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self, "alpha")
        _check_number(self, "beta")
        if abs(self.alpha - self.beta - 1) > 1e-6:
            raise ValueError(
                f"AlphaBeta: alpha = {self.alpha!r}, beta = {self.beta!r}; "
                "accepted: alpha - beta = 1, such as (1, 0) or (2, 1)"
            )


@dataclass(frozen=True)
class Gamma(_Stabilized):
    """Contributions that agree in sign with the output are weighed 1 + γ.

    Montavon et al. 2019, "Layer-wise relevance propagation: an overview"; Andéol et al. 2021,
    "Learning domain invariant representations by joint Wasserstein distance minimization", for any
    sign.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self, "gamma")


@dataclass(frozen=True)
class WSquare(_Stabilized):
    """R_i = (W²)ᵀ[R / st(W²·1 + b²)]: shares by squared weights, whatever the input is.

    Montavon et al. 2017 (deep Taylor decomposition), the w²-rule.
    """


@dataclass(frozen=True)
class Flat(_Stabilized):
    """Equal shares for all inputs that an output sees.

    Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really
    learn".
    """


@dataclass(frozen=True, eq=False)
class ZBox(_Stabilized):
    """For a first layer whose inputs lie in [low, high], such as pixels.

    R_i = x ⊙ Wᵀs - low ⊙ W⁺ᵀs - high ⊙ W⁻ᵀs, s = R / st(Wx - W⁺low - W⁻high)
    Montavon et al. 2017 (deep Taylor decomposition), the z^B-rule.

    Args:
        low, high: numbers, or arrays that broadcast to the layer's input (without the batch), in
            the units of the network's input.

    Raises:
        ValueError: low > high somewhere, or a bound that is not finite.
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            object.__setattr__(self, name, _bound(name, getattr(self, name)))
        try:
            ordered = bool((self.low <= self.high).all())
        except ValueError as error:
            raise ValueError(
                f"ZBox: low has shape {self.low.shape}, high {self.high.shape}; "
                "accepted: shapes that broadcast"
            ) from error
        if not ordered:
            raise ValueError("ZBox: low is above high; accepted: low <= high everywhere")

    @property
    def _key(self) -> tuple[Any, ...]:
        bounds = [(bound.shape, bound.tobytes()) for bound in (self.low, self.high)]
        return (*bounds, self.stabilizer, self.bias)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, ZBox) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(frozen=True)
class Reweighted(_Stabilized):
    """The ε rule with other weights: R_i = x ⊙ W'ᵀ[R / st(W'x + b)], W' = p W⁺ + n W⁻.

    p = 1 + γ, n = 1 is the γ rule of Montavon et al. 2019, "Layer-wise relevance propagation: an
    overview", which does not look at the signs of inputs and outputs; p = 1, n = 0 is the z⁺ rule
    without that look. Both are what Captum computes.

    Args:
        positive, negative: p and n.
    """

    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number(self, "positive")
        _check_number(self, "negative")


@dataclass(frozen=True)
class Pass(_Stabilized):
    """R_i = R. On a layer with weights only where input and output have one size."""


@dataclass(frozen=True)
class Norm(_Stabilized):
    """R_i = x ⊙ Lᵀ[R / st(Lx)] for layers L without weights: average pooling, residual sums."""


# A new rule is a class above and a line here: its fields are the engine's parameters.
_KINDS: dict[type[Rule], str] = {
    Epsilon: "epsilon",
    ZPlus: "z_plus",
    AlphaBeta: "alpha_beta",
    Gamma: "gamma",
    WSquare: "w_square",
    Flat: "flat",
    ZBox: "z_box",
    Reweighted: "reweighted",
    Pass: "pass",
    Norm: "norm",
}


def to_core(rule: Rule, input_shape: tuple[int, ...], layer: str) -> _core.Rule:
    """The engine's form of a rule for a layer with inputs of this shape (per sample).

    Raises:
        ValueError: bounds of a ZBox that do not broadcast to it.
    """
    values = {f.name: getattr(rule, f.name) for f in fields(rule)}
    absorb = values.pop("bias") == "absorb"
    if isinstance(rule, Epsilon):
        values["stabilizer"] = values.pop("epsilon")
    if isinstance(rule, Reweighted):
        values |= {"alpha": values.pop("positive"), "beta": values.pop("negative")}
    if isinstance(rule, ZBox):
        values |= {k: _spread(k, values[k], input_shape, layer) for k in ("low", "high")}
    return _core.Rule(_KINDS[type(rule)], absorb_bias=absorb, **values)


def _bound(name: str, value: Any) -> FloatArray:
    given = np.asarray(value)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"ZBox: {name} is {value!r}; accepted: a number or an array of numbers")
    with np.errstate(over="ignore"):
        bound = np.array(given, np.float32)
    if not np.isfinite(bound).all():
        raise ValueError(f"ZBox: {name} has NaN or infinite values; accepted: finite values")
    bound.setflags(write=False)
    return bound


def _spread(name: str, bound: FloatArray, shape: tuple[int, ...], layer: str) -> FloatArray:
    if bound.ndim == 0:
        return bound.reshape(1)
    if bound.ndim == len(shape) + 1 and bound.shape[0] == 1:
        bound = bound[0]
    try:
        return np.ascontiguousarray(np.broadcast_to(bound, shape))
    except ValueError as error:
        channels = (shape[0], *(1 for _ in shape[1:]))
        raise ValueError(
            f"layer '{layer}': ZBox {name} has shape {bound.shape}; accepted: a number or what "
            f"broadcasts to the layer's input {shape}, such as {channels} for one per channel"
        ) from error
