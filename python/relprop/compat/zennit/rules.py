"""Zennit's rules by name and argument. Definitions: docs/rules.md, which are Zennit's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import relprop as rp
from relprop._core import UnsupportedError

ZeroParams = str | Sequence[str] | None


class Hook:
    """What a composite maps a module to; `rule` is the rule of relprop that it stands for."""

    def __init__(self, rule: rp.Rule) -> None:
        self.rule = rule

    def copy(self) -> Hook:
        """Itself: hooks hold no state here."""
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rule})"


class Epsilon(Hook):
    """The ε rule.

    Args:
        epsilon: a number; callables are refused.
        zero_params: None, or "bias" to leave it out of the denominator.
    """

    def __init__(self, epsilon: float = 1e-6, zero_params: ZeroParams = None) -> None:
        super().__init__(rp.Epsilon(number(epsilon, "Epsilon: epsilon"), bias=bias(zero_params)))


class Gamma(Hook):
    """The generalised γ rule. zero_params is refused: Zennit's sign mask keeps the bias then."""

    def __init__(
        self, gamma: float = 0.25, stabilizer: float = 1e-6, zero_params: ZeroParams = None
    ) -> None:
        if bias(zero_params) == "ignore":
            raise UnsupportedError(
                "Gamma: zero_params = 'bias' zeroes the bias in Zennit's denominators but not in "
                "the sign that chooses them; supported: None here, and "
                "relprop.Gamma(bias='ignore'), which zeroes it in both"
            )
        super().__init__(rp.Gamma(gamma, stabilizer=number(stabilizer, "Gamma: stabilizer")))


class ZPlus(Hook):
    """The z⁺ rule for inputs of any sign, AlphaBeta(1, 0)."""

    def __init__(self, stabilizer: float = 1e-6, zero_params: ZeroParams = None) -> None:
        super().__init__(rp.ZPlus(**_common("ZPlus", stabilizer, zero_params)))


class AlphaBeta(Hook):
    """The α-β rule."""

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 1.0,
        stabilizer: float = 1e-6,
        zero_params: ZeroParams = None,
    ) -> None:
        super().__init__(rp.AlphaBeta(alpha, beta, **_common("AlphaBeta", stabilizer, zero_params)))


class ZBox(Hook):
    """The z^B rule; low and high are numbers or tensors that broadcast to the layer's input."""

    def __init__(
        self, low: Any, high: Any, stabilizer: float = 1e-6, zero_params: ZeroParams = None
    ) -> None:
        common = _common("ZBox", stabilizer, zero_params)
        super().__init__(rp.ZBox(_bound(low), _bound(high), **common))


class WSquare(Hook):
    """The w² rule."""

    def __init__(self, stabilizer: float = 1e-6, zero_params: ZeroParams = None) -> None:
        super().__init__(rp.WSquare(**_common("WSquare", stabilizer, zero_params)))


class Flat(Hook):
    """The flat rule."""

    def __init__(self, stabilizer: float = 1e-6, zero_params: ZeroParams = None) -> None:
        super().__init__(rp.Flat(**_common("Flat", stabilizer, zero_params)))


class Pass(Hook):
    """Relevance goes through unchanged."""

    def __init__(self) -> None:
        super().__init__(rp.Pass())


class Norm(Hook):
    """The ε rule for layers without weights: sums and average pooling."""

    def __init__(self, stabilizer: float = 1e-6) -> None:
        super().__init__(rp.Norm(stabilizer=number(stabilizer, "Norm: stabilizer")))


def _refused(name: str) -> Callable[..., Hook]:
    def refuse(*_: object, **__: object) -> Hook:
        raise UnsupportedError(
            f"{name} changes the gradient of ReLUs, which is no relevance propagation; supported: "
            "Epsilon, Gamma, ZPlus, AlphaBeta, ZBox, WSquare, Flat, Pass, Norm"
        )

    refuse.__name__ = name
    refuse.__doc__ = f"Not supported: refuses {name} by name."
    return refuse


ReLUDeconvNet = _refused("ReLUDeconvNet")
ReLUGuidedBackprop = _refused("ReLUGuidedBackprop")
ReLUBetaSmooth = _refused("ReLUBetaSmooth")


def number(value: Any, what: str) -> float:
    """A stabilizer as a number.

    Raises:
        UnsupportedError: a callable.
        TypeError: something else.
    """
    if callable(value):
        raise UnsupportedError(
            f"{what} is a callable, {value!r}; supported: a number, which is added with the sign "
            "of the denominator"
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} = {value!r}; accepted: a number")
    return float(value)


def bias(zero_params: ZeroParams) -> rp.rules.Bias:
    """What zero_params makes of the bias.

    Raises:
        UnsupportedError: another parameter than the bias.
    """
    names = [zero_params] if isinstance(zero_params, str) else list(zero_params or ())
    if not set(names) <= {"bias"}:
        raise UnsupportedError(f"zero_params = {zero_params!r}; supported: None or 'bias'")
    return "ignore" if names else "absorb"


def _common(name: str, stabilizer: Any, zero_params: ZeroParams) -> dict[str, Any]:
    return {"stabilizer": number(stabilizer, f"{name}: stabilizer"), "bias": bias(zero_params)}


def _bound(value: Any) -> Any:
    """A number, or the bounds of one sample: Zennit's tensors have a batch axis."""
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        return value.item() if isinstance(value, torch.Tensor) else value
    array = value.detach().cpu().numpy().astype(np.float32)
    if not len(array) or (array != array[:1]).any():
        raise UnsupportedError(
            f"ZBox: a bound of shape {array.shape} differs between samples; supported: one for all"
        )
    return np.ascontiguousarray(array[0])
