"""Single layers on arrays, for people who write their own propagation.

Arrays are float32 NumPy arrays or CPU torch tensors; results are float32, of the kind of x. Each
call compiles its layer anew, so weights may change between calls.

Shapes: x is (N, in) with w (out, in), or (N, C, H, W) with w (out, C / groups, kH, kW); b is (out,)
or None; r has the shape of the layer's output. stride, padding and dilation are an int or a pair
(y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relprop import _core
from relprop._arrays import Array, FloatArray, Floats, floats
from relprop.composites import check_rule
from relprop.model import checked_threads
from relprop.rules import Rule, to_core

Pair = int | Sequence[int]

__all__ = [
    "conv2d",
    "conv2d_gradient",
    "conv2d_relevance",
    "dense",
    "dense_gradient",
    "dense_relevance",
]


@dataclass(frozen=True)
class _Layer:
    """A checked input and the one-layer model that it goes through."""

    x: Floats
    core: _core.Model
    n_threads: int

    def forward(self) -> Array:
        plan = _core.Plan(self.core, forward_only=True)
        return self.x.restore(plan.forward(self.x.values, self.n_threads))

    def back(self, r: Array, rule: _core.Rule, cast: bool) -> Array:
        """The input's relevance under a rule for relevance r at the output."""
        start = floats(r, "r", cast=cast).values
        plan = _core.Plan(self.core, [rule] * len(self.core.nodes))
        expected = (len(self.x.values), *plan.output_shape)
        if start.shape != expected:
            raise ValueError(f"r has shape {start.shape}; accepted: {expected}, as the output")
        relevance = plan.relevance(self.x.values, start=start[:, None], n_threads=self.n_threads)[0]
        return self.x.restore(relevance[:, 0])

    def relevance(self, r: Array, rule: Rule, cast: bool) -> Array:
        check_rule(rule, "rule")
        name, _, _, shape = self.core.nodes[0]
        return self.back(r, to_core(rule, shape, name), cast)


def dense(
    x: Array, w: Array, b: Array | None = None, *, n_threads: int | None = None, cast: bool = False
) -> Array:
    """x Wᵀ + b, (N, out).

    Args:
        x: (N, in).
        w: (out, in).
        b: (out,) or None.
        n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.
        cast: round float64 or float16 arrays to float32 instead of refusing them.

    Raises:
        TypeError: an array of another type or dtype.
        ValueError: shapes that do not fit, NaN or infinite values.
    """
    return _dense(x, w, b, n_threads, cast).forward()


def dense_relevance(
    x: Array,
    w: Array,
    b: Array | None,
    r: Array,
    rule: Rule,
    *,
    n_threads: int | None = None,
    cast: bool = False,
) -> Array:
    """The relevance of x, (N, in), when that of the output is r, (N, out).

    rule is any of relprop's rules; bounds of a ZBox are numbers or broadcast to x. The other
    arguments and exceptions are those of `dense`.
    """
    return _dense(x, w, b, n_threads, cast).relevance(r, rule, cast)


def dense_gradient(
    x: Array,
    w: Array,
    b: Array | None,
    r: Array,
    *,
    n_threads: int | None = None,
    cast: bool = False,
) -> Array:
    """The gradient at x, (N, in), when that at the output is r, (N, out): r W.

    Arguments and exceptions are those of `dense`; x and b do not change the result.
    """
    return _dense(x, w, b, n_threads, cast).back(r, _core.Rule("gradient"), cast)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    n_threads: int | None = None,
    cast: bool = False,
) -> Array:
    """Convolution (cross-correlation) with zero padding, (N, out, H', W').

    Args:
        x: (N, C, H, W).
        w: (out, C / groups, kH, kW).
        b: (out,) or None.
        stride, padding, dilation: an int, or a pair (y, x); padding goes on both sides.
        groups: inputs and outputs form so many groups without connections between them.
        n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.
        cast: round float64 or float16 arrays to float32 instead of refusing them.

    Raises:
        TypeError: an array of another type or dtype.
        ValueError: shapes that do not fit, NaN or infinite values.
    """
    geometry = _geometry(stride, padding, dilation, groups)
    return _conv2d(x, w, b, geometry, n_threads, cast).forward()


def conv2d_relevance(
    x: Array,
    w: Array,
    b: Array | None,
    r: Array,
    rule: Rule,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    n_threads: int | None = None,
    cast: bool = False,
) -> Array:
    """The relevance of x, (N, C, H, W), when that of the output is r, (N, out, H', W').

    rule is any of relprop's rules; bounds of a ZBox are numbers or broadcast to x. The other
    arguments and exceptions are those of `conv2d`.
    """
    geometry = _geometry(stride, padding, dilation, groups)
    return _conv2d(x, w, b, geometry, n_threads, cast).relevance(r, rule, cast)


def conv2d_gradient(
    x: Array,
    w: Array,
    b: Array | None,
    r: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    n_threads: int | None = None,
    cast: bool = False,
) -> Array:
    """The gradient at x, (N, C, H, W), when that at the output is r, (N, out, H', W').

    Arguments and exceptions are those of `conv2d`; of x only the shape matters, b not at all.
    """
    geometry = _geometry(stride, padding, dilation, groups)
    back = _conv2d(x, w, b, geometry, n_threads, cast).back
    return back(r, _core.Rule("gradient"), cast)


def _dense(x: Array, w: Array, b: Array | None, n_threads: int | None, cast: bool) -> _Layer:
    given, weight = _ranked(x, "x", "(N, in)", cast), _ranked(w, "w", "(out, in)", cast)
    core = _core.Model(given.values.shape[1:], "x")
    core.add_dense("dense", 0, weight.values, _bias(b, cast))
    return _finished(core, given, n_threads)


def _conv2d(
    x: Array, w: Array, b: Array | None, geometry: dict[str, Any], n_threads: int | None, cast: bool
) -> _Layer:
    given = _ranked(x, "x", "(N, C, H, W)", cast)
    weight = _ranked(w, "w", "(out, C / groups, kH, kW)", cast)
    core = _core.Model(given.values.shape[1:], "x")
    core.add_conv("conv2d", 0, weight.values, _bias(b, cast), **geometry)
    return _finished(core, given, n_threads)


def _finished(core: _core.Model, x: Floats, n_threads: int | None) -> _Layer:
    core.add_output("output", 1)
    return _Layer(x, core, checked_threads(n_threads))


def _ranked(array: Array, what: str, accepted: str, cast: bool) -> Floats:
    given = floats(array, what, cast=cast)
    if given.values.ndim != accepted.count(",") + 1:
        raise ValueError(f"{what} has shape {given.values.shape}; accepted: {accepted}")
    return given


def _bias(b: Array | None, cast: bool) -> FloatArray | None:
    return None if b is None else floats(b, "b", cast=cast).values


def _geometry(stride: Pair, padding: Pair, dilation: Pair, groups: int) -> dict[str, Any]:
    pad = _pair(padding, "padding", 0)
    return {
        "stride": _pair(stride, "stride", 1),
        "pad_begin": pad,
        "pad_end": pad,
        "dilation": _pair(dilation, "dilation", 1),
        "groups": _integer(groups, "groups", 1),
    }


def _pair(value: Pair, what: str, least: int) -> tuple[int, int]:
    accepted = "an int or a pair (y, x)"
    pair = value if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{what} = {value!r}; accepted: {accepted}")
    return _integer(pair[0], what, least, accepted), _integer(pair[1], what, least, accepted)


def _integer(value: Any, what: str, least: int, accepted: str = "an int") -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} = {value!r}; accepted: {accepted}")
    number = int(value.__index__())
    if not least <= number < 2**31:
        raise ValueError(f"{what} = {number}; accepted: {least} or more")
    return number
