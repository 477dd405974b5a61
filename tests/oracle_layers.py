"""Every rule for one linear layer, straight from its definition.

A linear layer is z = W x + b with two operations for any array ``w`` of its weight's shape:
``apply(w, x)`` is W x and ``adjoint(w, s)`` is Wᵀ s. Convolutions write W as an index map: column
``t`` of output position ``p`` reads cell ``index[t, p]`` of the padded input.

Every rule is a sum of shares. A share distributes relevance r over contributions q_k = w_k x_k in
proportion to them:

    R = Σ_k x_k ⊙ w_kᵀ [ r / st(d) ],   d = Σ_k w_k x_k + b,   st(d) = d + ε sign(d), sign(0) = +1

so the rules differ only in which contributions they take (``shares``). Nothing here knows of
relprop, and the dtype of the arrays decides the precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def positive(a: Array) -> Array:
    return np.maximum(a, 0)


def negative(a: Array) -> Array:
    return np.minimum(a, 0)


def sign(a: Array) -> Array:
    return np.where(a < 0, -1, 1).astype(a.dtype)


def stabilize(a: Array, epsilon: float) -> Array:
    return a + a.dtype.type(epsilon) * sign(a)


@dataclass(frozen=True)
class Rule:
    """kind: gradient, epsilon, z_plus, alpha_beta, gamma, w_square, flat, z_box, reweighted, pass
    or norm. alpha and beta of reweighted are the factors of W⁺ and W⁻."""

    kind: str
    alpha: float = 1.0
    beta: float = 0.0
    gamma: float = 0.25
    stabilizer: float = 1e-6
    absorb_bias: bool = True
    low: Any = 0.0
    high: Any = 1.0


@dataclass(frozen=True)
class Grid:
    """Index map of a sliding window: (taps, positions) into a flattened padded image."""

    padded: Pair
    index: Array

    @staticmethod
    def of(padded: Pair, positions: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Grid:
        columns = []
        for tap in itertools.product(range(kernel[0]), range(kernel[1])):
            y = np.arange(positions[0]) * stride[0] + tap[0] * dilation[0]
            x = np.arange(positions[1]) * stride[1] + tap[1] * dilation[1]
            columns.append((y[:, None] * padded[1] + x[None, :]).ravel())
        return Grid(padded, np.stack(columns))

    def gather(self, image: Array) -> Array:
        """(N, C, H, W) padded -> (N, C, taps, positions)."""
        return image.reshape(*image.shape[:2], -1)[:, :, self.index]

    def scatter(self, columns: Array) -> Array:
        """The adjoint of gather: (N, C, taps, positions) -> (N, C, H, W) padded."""
        image = np.zeros((*columns.shape[:2], self.padded[0] * self.padded[1]), columns.dtype)
        for tap, cells in enumerate(self.index):  # a tap reads no cell twice
            image[:, :, cells] += columns[:, :, tap]
        return image.reshape(*columns.shape[:2], *self.padded)


def pad_image(x: Array, begin: Pair, end: Pair, value: float = 0.0) -> Array:
    widths = ((0, 0), (0, 0), (begin[0], end[0]), (begin[1], end[1]))
    return np.pad(x, widths, constant_values=value)


def crop_image(x: Array, begin: Pair, end: Pair) -> Array:
    return x[:, :, begin[0] : x.shape[2] - end[0], begin[1] : x.shape[3] - end[1]]


def as_image(x: Array) -> Array:
    return x[:, :, None, :] if x.ndim == 3 else x


class Linear:
    """z = W x + b on a batch; bias is shaped to broadcast to the output."""

    weight: Array
    bias: Array | None

    def apply(self, w: Array, x: Array) -> Array:
        raise NotImplementedError

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        """x is only read for its shape."""
        raise NotImplementedError

    def bias_for(self, z: Array) -> Array:
        if self.bias is None:
            return np.zeros((), self.weight.dtype)
        if isinstance(self, Dense):
            return self.bias
        return self.bias.reshape(-1, *[1] * (z.ndim - 2))

    def forward(self, x: Array) -> Array:
        z = self.apply(self.weight, x)
        return z + self.bias_for(z)

    def gradient(self, x: Array, g: Array) -> Array:
        return self.adjoint(self.weight, g, x)

    def relevance(self, x: Array, r: Array, rule: Rule) -> Array:
        if rule.kind == "gradient":
            return self.gradient(x, r)
        if rule.kind == "pass":
            return r
        return sum(
            (share.relevance(self, x) for share in shares(self, x, r, rule)), np.zeros_like(x)
        )


class Dense(Linear):
    """weight (out, in), over the last axis."""

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        self.weight, self.bias = weight, bias

    def apply(self, w: Array, x: Array) -> Array:
        return x @ w.T

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        return s @ w


class Affine(Linear):
    """One weight and bias per channel: a batch norm that stands alone."""

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        self.weight, self.bias = weight, bias

    def apply(self, w: Array, x: Array) -> Array:
        return x * w.reshape(-1, *[1] * (x.ndim - 2))

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        return s * w.reshape(-1, *[1] * (s.ndim - 2))


class Conv(Linear):
    """weight (out, in / groups, kH, kW) or (out, in / groups, k); pads are zeros."""

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        pad_begin: Pair = (0, 0),
        pad_end: Pair = (0, 0),
        groups: int = 1,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.pad_begin, self.pad_end = pad_begin, pad_end

    @property
    def kernel(self) -> Pair:
        return tuple(as_image(self.weight).shape[2:])  # type: ignore[return-value]

    def grid(self, height: int, width: int) -> tuple[Grid, Pair]:
        padded, positions = [], []
        for axis, size in enumerate((height, width)):
            extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            padded.append(size + self.pad_begin[axis] + self.pad_end[axis])
            positions.append((padded[axis] - extent) // self.stride[axis] + 1)
        where = (positions[0], positions[1])
        size = (padded[0], padded[1])
        return Grid.of(size, where, self.kernel, self.stride, self.dilation), where

    def apply(self, w: Array, x: Array) -> Array:
        image = as_image(x)
        grid, positions = self.grid(*image.shape[2:])
        columns = grid.gather(pad_image(image, self.pad_begin, self.pad_end))
        columns = columns.reshape(len(x), self.groups, -1, columns.shape[-1])
        z = w.reshape(self.groups, len(w) // self.groups, -1) @ columns
        return z.reshape(len(x), len(w), *(positions if x.ndim == 4 else positions[1:]))

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        image = as_image(x)
        grid, _ = self.grid(*image.shape[2:])
        rows = w.reshape(self.groups, len(w) // self.groups, -1)
        columns = rows.transpose(0, 2, 1) @ s.reshape(len(s), self.groups, rows.shape[1], -1)
        columns = columns.reshape(len(s), image.shape[1], len(grid.index), -1)
        return crop_image(grid.scatter(columns), self.pad_begin, self.pad_end).reshape(x.shape)


class ConvTranspose(Linear):
    """weight (in, out / groups, kH, kW): the adjoint of a convolution, cropped by the pads."""

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        pad_begin: Pair = (0, 0),
        pad_end: Pair = (0, 0),
        output_padding: Pair = (0, 0),
        groups: int = 1,
    ) -> None:
        self.weight, self.bias = weight, bias
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.pad_begin, self.pad_end, self.output_padding = pad_begin, pad_end, output_padding

    def grid(self, height: int, width: int) -> Grid:
        kernel = as_image(self.weight).shape[2:]
        full = [
            (size - 1) * self.stride[axis]
            + (kernel[axis] - 1) * self.dilation[axis]
            + 1
            + self.output_padding[axis]
            for axis, size in enumerate((height, width))
        ]
        return Grid.of((full[0], full[1]), (height, width), kernel, self.stride, self.dilation)

    def apply(self, w: Array, x: Array) -> Array:
        image = as_image(x)
        grid = self.grid(*image.shape[2:])
        rows = w.reshape(self.groups, len(w) // self.groups, -1)
        columns = rows.transpose(0, 2, 1) @ x.reshape(len(x), self.groups, rows.shape[1], -1)
        columns = columns.reshape(len(x), -1, len(grid.index), columns.shape[-1])
        z = crop_image(grid.scatter(columns), self.pad_begin, self.pad_end)
        return z if x.ndim == 4 else z[:, :, 0]

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        image = as_image(x)
        grid = self.grid(*image.shape[2:])
        columns = grid.gather(pad_image(as_image(s), self.pad_begin, self.pad_end))
        columns = columns.reshape(len(s), self.groups, -1, columns.shape[-1])
        rows = w.reshape(self.groups, len(w) // self.groups, -1)
        return (rows @ columns).reshape(x.shape)


@dataclass(frozen=True)
class Share:
    """Relevance r over contributions w_k x_k, in proportion to them."""

    r: Array
    pairs: Sequence[tuple[Array, Array]]
    bias: Array
    epsilon: float

    @property
    def parts(self) -> Sequence[tuple[Array, Array]]:
        """The pairs whose x is not zero everywhere, as x⁻ is behind a ReLU; at least one."""
        return [pair for pair in self.pairs if pair[1].any()] or self.pairs[:1]

    def denominator(self, layer: Linear) -> Array:
        return sum((layer.apply(w, x) for w, x in self.parts), self.bias)

    def relevance(self, layer: Linear, x: Array) -> Array:
        s = self.r / stabilize(self.denominator(layer), self.epsilon)
        return sum((part * layer.adjoint(w, s, x) for w, part in self.parts), np.zeros_like(x))


def per_input(bound: Any, x: Array) -> Array:
    """A z^B bound: a scalar, one value per channel, or the shape of a sample or the batch."""
    bound = np.asarray(bound, x.dtype)
    if bound.ndim == 1 and x.ndim > 2:
        bound = bound.reshape(-1, *[1] * (x.ndim - 2))
    return np.broadcast_to(bound, x.shape)


def shares(layer: Linear, x: Array, r: Array, rule: Rule) -> list[Share]:
    """What a rule divides by what; the sum of the shares' relevance is the rule's."""
    w, one = layer.weight, np.ones_like(x)
    wp, wn, xp, xn = positive(w), negative(w), positive(x), negative(x)
    eps, none = rule.stabilizer, np.zeros((), w.dtype)
    b = layer.bias_for(r) if rule.absorb_bias else none
    if rule.kind in ("epsilon", "norm"):
        return [Share(r, [(w, x)], b, eps)]
    if rule.kind == "reweighted":
        p, n = r.dtype.type(rule.alpha), r.dtype.type(rule.beta)
        return [Share(r, [(p * wp + n * wn, x)], b, eps)]
    if rule.kind == "w_square":
        return [Share(r, [(w**2, one)], b**2, eps)]
    if rule.kind == "flat":
        return [Share(r, [(np.ones_like(w), one)], none, eps)]
    if rule.kind == "z_box":
        low, high = per_input(rule.low, x), per_input(rule.high, x)
        return [Share(r, [(w, x), (wp, -low), (wn, -high)], none, eps)]
    if rule.kind == "z_plus":
        return [Share(r, [(wp, xp), (wn, xn)], positive(b), eps)]
    if rule.kind == "alpha_beta":
        alpha, beta = r.dtype.type(rule.alpha), r.dtype.type(rule.beta)
        return [
            Share(alpha * r, [(wp, xp), (wn, xn)], positive(b), eps),
            Share(-beta * r, [(wn, xp), (wp, xn)], negative(b), eps),
        ]
    if rule.kind == "gamma":
        gamma = r.dtype.type(rule.gamma)
        z = layer.apply(w, x) + b
        up, down = w + gamma * wp, w + gamma * wn
        return [
            Share(np.where(z > 0, r, 0), [(up, xp), (down, xn)], b + gamma * positive(b), eps),
            Share(np.where(z < 0, r, 0), [(down, xp), (up, xn)], b + gamma * negative(b), eps),
        ]
    raise ValueError(f"no such rule: {rule.kind}")


@dataclass(frozen=True)
class Leaks:
    """Sums over the batch: relevance_out = relevance_in + bias + epsilon + zero."""

    relevance_out: float
    relevance_in: float
    bias: float
    epsilon: float
    zero: float


def leaks(layer: Linear, x: Array, r: Array, rule: Rule) -> Leaks:
    """Where relevance goes: r = r (Σ q + b + ε sign(d)) / st(d).

    What ε takes at d = 0 counts as lost to a zero denominator, and so does an output with z = 0
    under the gamma rule, which belongs to neither share.
    """
    bias = epsilon = zero = 0.0
    parts = shares(layer, x, r, rule)
    for share in parts:
        d = share.denominator(layer)
        s = share.r / stabilize(d, share.epsilon)
        bias += float((s * share.bias).sum())
        stabilized = s * share.epsilon * sign(d)
        epsilon += float(stabilized[d != 0].sum())
        zero += float(stabilized[d == 0].sum())
    zero += float(r.sum() - sum(share.r.sum() for share in parts))
    return Leaks(float(r.sum()), float(layer.relevance(x, r, rule).sum()), bias, epsilon, zero)
