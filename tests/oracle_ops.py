"""What every kind of layer of a network does, forward and backward; used by the network oracle.

Every value carries the batch dimension. Linear layers follow a rule; sums and averages share in
proportion to their terms; activations pass relevance on; the rest moves it with the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oracle_layers import (
    Array,
    Grid,
    Linear,
    Pair,
    Rule,
    as_image,
    crop_image,
    pad_image,
    stabilize,
)


class Op:
    """One node. Subclasses say what relevance does; the default is that of an activation."""

    kind = "other"

    def forward(self, *xs: Array) -> Array:
        raise NotImplementedError

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        raise NotImplementedError

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return [r]


@dataclass
class LinearOp(Op):
    layer: Linear
    kind: str

    def forward(self, *xs: Array) -> Array:
        return self.layer.forward(xs[0])

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [self.layer.gradient(xs[0], g)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return [self.layer.relevance(xs[0], r, rule)]


@dataclass
class BatchNorm(Op):
    """y = scale x + shift per channel; gone after folding."""

    scale: Array
    shift: Array


@dataclass
class Elementwise(Op):
    """An activation: relevance passes."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]

    def forward(self, *xs: Array) -> Array:
        return self.function(xs[0]).astype(xs[0].dtype)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [g * self.derivative(xs[0]).astype(g.dtype)]


@dataclass
class Rearrange(Op):
    """Flatten, reshape, squeeze, ...: values move, so does relevance."""

    shape: Callable[[tuple[int, ...]], tuple[int, ...]]

    def forward(self, *xs: Array) -> Array:
        return xs[0].reshape(self.shape(xs[0].shape))

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [g.reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


@dataclass
class Concat(Op):
    axis: int

    def forward(self, *xs: Array) -> Array:
        return np.concatenate(xs, self.axis)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        ends = np.cumsum([x.shape[self.axis] for x in xs])
        return np.split(g, ends[:-1], self.axis)

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


@dataclass
class PadOp(Op):
    """Constant padding of every axis; negative widths crop. Padded cells keep their relevance."""

    widths: list[Pair]
    value: float

    def forward(self, *xs: Array) -> Array:
        grown = [(max(b, 0), max(e, 0)) for b, e in self.widths]
        y = np.pad(xs[0], grown, constant_values=self.value)
        return y[self.inside(y.shape, -1)]

    def inside(self, shape: tuple[int, ...], direction: int) -> tuple[slice, ...]:
        cut = [(max(direction * b, 0), max(direction * e, 0)) for b, e in self.widths]
        return tuple(slice(b, n - e) for (b, e), n in zip(cut, shape, strict=True))

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        result = np.zeros_like(xs[0])
        result[self.inside(xs[0].shape, -1)] = g[self.inside(g.shape, 1)]
        return [result]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


class Add(Op):
    """Every branch gets its value ⊙ R / st(sum)."""

    def forward(self, *xs: Array) -> Array:
        return sum(xs[1:], xs[0])

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [g for _ in xs]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        s = r / stabilize(y, rule.stabilizer)
        return [x * s for x in xs]


@dataclass
class Pool(Op):
    kernel: Pair
    stride: Pair
    dilation: Pair
    pad_begin: Pair
    pad_end: Pair
    ceil_mode: bool

    def layout(self, x: Array) -> tuple[Grid, Pair, Pair]:
        """The window grid, its positions, and the padding at the end incl. the ceil overhang."""
        padded, positions, end = [], [], []
        for axis, size in enumerate(as_image(x).shape[2:]):
            extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            step = self.stride[axis]
            room = size + self.pad_begin[axis] + self.pad_end[axis] - extent
            count = (-(-room // step) if self.ceil_mode else room // step) + 1
            # A window that ceil_mode adds must start inside the input or its leading padding.
            if (count - 1) * step >= size + self.pad_begin[axis]:
                count -= 1
            overhang = max(0, (count - 1) * step - room)
            positions.append(count)
            end.append(self.pad_end[axis] + overhang)
            padded.append(size + self.pad_begin[axis] + end[axis])
        where, size = (positions[0], positions[1]), (padded[0], padded[1])
        grid = Grid.of(size, where, self.kernel, self.stride, self.dilation)
        return grid, where, (end[0], end[1])

    def shape(self, x: Array, positions: Pair) -> tuple[int, ...]:
        return (*x.shape[:2], *(positions if x.ndim == 4 else positions[1:]))


@dataclass
class MaxPool(Pool):
    """The winner takes all, the first one in row-major order where several tie."""

    def columns(self, x: Array) -> tuple[Array, Grid, Pair, Pair]:
        grid, positions, end = self.layout(x)
        padded = pad_image(as_image(x), self.pad_begin, end, -np.inf)
        return grid.gather(padded), grid, positions, end

    def forward(self, *xs: Array) -> Array:
        columns, _, positions, _ = self.columns(xs[0])
        return columns.max(2).reshape(self.shape(xs[0], positions))

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        columns, grid, _, end = self.columns(xs[0])
        winner = np.arange(columns.shape[2])[:, None] == columns.argmax(2)[:, :, None, :]
        sent = np.where(winner, g.reshape(*g.shape[:2], 1, -1), 0).astype(g.dtype)
        return [crop_image(grid.scatter(sent), self.pad_begin, end).reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


@dataclass
class AveragePool(Pool):
    count_include_pad: bool

    def mean(self, x: Array) -> tuple[Grid, Pair, Pair, Array]:
        grid, positions, end = self.layout(x)
        ones = np.ones_like(as_image(x)[:1, :1])
        if (
            self.count_include_pad
        ):  # the declared padding counts, the overhang of ceil_mode does not
            overhang = (end[0] - self.pad_end[0], end[1] - self.pad_end[1])
            ones = pad_image(pad_image(ones, self.pad_begin, self.pad_end, 1), (0, 0), overhang)
        else:
            ones = pad_image(ones, self.pad_begin, end)
        return grid, positions, end, 1 / grid.gather(ones).sum(2)

    def forward(self, *xs: Array) -> Array:
        grid, positions, end, inverse = self.mean(xs[0])
        columns = grid.gather(pad_image(as_image(xs[0]), self.pad_begin, end))
        return (columns.sum(2) * inverse).reshape(self.shape(xs[0], positions))

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        grid, _, end, inverse = self.mean(xs[0])
        sent = (g.reshape(*g.shape[:2], -1) * inverse)[:, :, None, :]
        sent = np.repeat(sent, len(grid.index), 2)
        return [crop_image(grid.scatter(sent), self.pad_begin, end).reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        s = r / stabilize(y, rule.stabilizer)
        return [xs[0] * self.gradient(xs, y, s)[0]]


@dataclass
class GlobalAverage(Op):
    """Mean over all axes behind the channels."""

    keep: bool = True

    def forward(self, *xs: Array) -> Array:
        return xs[0].mean(tuple(range(2, xs[0].ndim)), keepdims=self.keep)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        x = xs[0]
        each = g.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) / math.prod(x.shape[2:])
        return [np.broadcast_to(each, x.shape).astype(g.dtype)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        s = r / stabilize(y, rule.stabilizer)
        return [xs[0] * self.gradient(xs, y, s)[0]]


@dataclass
class AdaptiveAverage(Op):
    """Output o of n averages the inputs floor(o h / n) to ceil((o + 1) h / n) of each axis."""

    output: Pair

    @staticmethod
    def bins(size: int, count: int, dtype: np.dtype) -> Array:
        matrix = np.zeros((count, size), dtype)
        for o in range(count):
            first, last = o * size // count, -(-(o + 1) * size // count)
            matrix[o, first:last] = 1 / (last - first)
        return matrix

    def matrices(self, x: Array) -> tuple[Array, Array]:
        height, width = as_image(x).shape[2:]
        rows, columns = self.output
        return self.bins(height, rows, x.dtype), self.bins(width, columns, x.dtype)

    def forward(self, *xs: Array) -> Array:
        rows, columns = self.matrices(xs[0])
        y = rows @ as_image(xs[0]) @ columns.T
        return y if xs[0].ndim == 4 else y[:, :, 0]

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        rows, columns = self.matrices(xs[0])
        return [(rows.T @ as_image(g) @ columns).reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        s = r / stabilize(y, rule.stabilizer)
        return [xs[0] * self.gradient(xs, y, s)[0]]


class GlobalMax(Op):
    def forward(self, *xs: Array) -> Array:
        return xs[0].max(tuple(range(2, xs[0].ndim)), keepdims=True)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        flat = xs[0].reshape(*xs[0].shape[:2], -1)
        winner = np.arange(flat.shape[2]) == flat.argmax(2)[:, :, None]
        sent = np.where(winner, g.reshape(*g.shape[:2], 1), 0).astype(g.dtype)
        return [sent.reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


@dataclass
class Gather(Op):
    """Values of a sample by their numbers in row-major order; relevance follows the values."""

    index: Array

    def forward(self, *xs: Array) -> Array:
        return xs[0].reshape(len(xs[0]), -1)[:, self.index]

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        result = np.zeros((xs[0][0].size, len(g)), g.dtype)
        np.add.at(result, self.index.ravel(), g.reshape(len(g), -1).T)
        return [result.T.reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return self.gradient(xs, y, r)


@dataclass
class Resample(Op):
    """rows x columnsᵀ for every channel; x ⊙ Lᵀ[R / st(Lx)], as for average pooling."""

    rows: Array
    columns: Array

    def forward(self, *xs: Array) -> Array:
        y = self.rows @ as_image(xs[0]) @ self.columns.T
        return y if xs[0].ndim == 4 else y[:, :, 0]

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [(self.rows.T @ as_image(g) @ self.columns).reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        s = r / stabilize(y, rule.stabilizer)
        return [xs[0] * self.gradient(xs, y, s)[0]]


@dataclass
class LayerNorm(Op):
    """Over the last axes, as many values together as there are weights.

    Norm: y = a ⊙ (x - mean(x)) + b with a = weight / deviation taken as a constant, so that
    R = x ⊙ (a ⊙ s - mean(a ⊙ s)), s = R / st(y) (Ali et al. 2022). Pass: R as it is.
    """

    weight: Array
    bias: Array
    eps: float

    def rows(self, x: Array) -> Array:
        return x.reshape(-1, self.weight.size)

    def deviation(self, x: Array) -> Array:
        return np.sqrt(self.rows(x).var(1, keepdims=True) + self.eps)

    def forward(self, *xs: Array) -> Array:
        rows = self.rows(xs[0])
        normal = (rows - rows.mean(1, keepdims=True)) / self.deviation(xs[0])
        return (normal * self.weight.ravel() + self.bias.ravel()).reshape(xs[0].shape)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        rows, deviation = self.rows(xs[0]), self.deviation(xs[0])
        normal = (rows - rows.mean(1, keepdims=True)) / deviation
        g = self.rows(g) * self.weight.ravel()
        along = (g * normal).mean(1, keepdims=True)
        dx = (g - g.mean(1, keepdims=True) - normal * along) / deviation
        return [dx.reshape(xs[0].shape)]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        if rule.kind == "pass":
            return [r]
        z = self.rows(y) - (0 if rule.absorb_bias else self.bias.ravel())
        a = self.weight.ravel() / self.deviation(xs[0])
        share = a * self.rows(r) / stabilize(z, rule.stabilizer)
        part = self.rows(xs[0]) * (share - share.mean(1, keepdims=True))
        return [part.reshape(xs[0].shape)]


@dataclass
class Product(Op):
    """Of one shape. gate: the second one is a constant under Pass; otherwise each gets half."""

    gate: bool

    def forward(self, *xs: Array) -> Array:
        return xs[0] * xs[1]

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [g * xs[1], g * xs[0]]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        return [r, 0 * r] if self.gate and rule.kind == "pass" else [r / 2, r / 2]


@dataclass
class Softmax(Op):
    axis: int

    def forward(self, *xs: Array) -> Array:
        e = np.exp(xs[0] - xs[0].max(self.axis, keepdims=True))
        return e / e.sum(self.axis, keepdims=True)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    """As torch has it: one sixth for the slope, where ONNX's default is one fifth."""
    return np.clip(x / 6 + 0.5, 0, 1)


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def normal_cdf(x: Array) -> Array:
    return np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[np.float64])(x)


def gelu(approximate: bool) -> Elementwise:
    if not approximate:
        density = lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
        return Elementwise(lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * density(x))
    c = math.sqrt(2 / math.pi)
    t = lambda x: np.tanh(c * (x + 0.044715 * x**3))  # noqa: E731
    return Elementwise(
        lambda x: 0.5 * x * (1 + t(x)),
        lambda x: 0.5 * (1 + t(x)) + 0.5 * x * (1 - t(x) ** 2) * c * (1 + 3 * 0.044715 * x**2),
    )


def leaky(slope: float) -> Elementwise:
    return Elementwise(lambda x: np.where(x > 0, x, slope * x), lambda x: np.where(x > 0, 1, slope))


def clip(low: float, high: float) -> Elementwise:
    return Elementwise(lambda x: np.clip(x, low, high), lambda x: (x > low) & (x < high))


def elu(alpha: float) -> Elementwise:
    return Elementwise(
        lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),
    )


FUNCTIONS: dict[str, Elementwise] = {
    "Relu": Elementwise(lambda x: np.maximum(x, 0), lambda x: x > 0),
    "Sigmoid": Elementwise(sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "Tanh": Elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "HardSigmoid": Elementwise(hard_sigmoid, lambda x: (np.abs(x) < 3) / 6),
    "HardSwish": Elementwise(
        lambda x: x * hard_sigmoid(x),
        lambda x: np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0),
    ),
    "Softplus": Elementwise(softplus, sigmoid),
    "Mish": Elementwise(
        lambda x: x * np.tanh(softplus(x)),
        lambda x: np.tanh(softplus(x)) + x * (1 - np.tanh(softplus(x)) ** 2) * sigmoid(x),
    ),
    "Swish": Elementwise(
        lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))
    ),
}
