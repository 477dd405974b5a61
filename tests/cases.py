"""The one list of layer cases, for tests and benchmarks. Data only: no relprop, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import oracle

Array = npt.NDArray[Any]
Pair = tuple[int, int]


@dataclass(frozen=True)
class LayerCase:
    """One linear layer; channels straddle the vector widths 4, 8 and 16 and blocks of 32 and 64."""

    id: str
    kind: str  # dense, conv or conv_transpose
    inputs: int
    outputs: int
    size: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad_begin: Pair = (0, 0)
    pad_end: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    groups: int = 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        if self.kind == "dense":
            return (self.outputs, self.inputs)
        if self.kind == "conv":
            return (self.outputs, self.inputs // self.groups, *self.kernel)
        return (self.inputs, self.outputs // self.groups, *self.kernel)

    @property
    def geometry(self) -> dict[str, Any]:
        """Keyword arguments that the oracle and the engine share."""
        if self.kind == "dense":
            return {}
        names = ["stride", "dilation", "pad_begin", "pad_end", "groups"]
        if self.kind == "conv_transpose":
            names.append("output_padding")
        return {name: getattr(self, name) for name in names}

    def oracle(self, weight: Array, bias: Array | None) -> oracle.Linear:
        kinds = {"dense": oracle.Dense, "conv": oracle.Conv, "conv_transpose": oracle.ConvTranspose}
        return kinds[self.kind](weight, bias, **self.geometry)


WIDTHS = (1, 3, 15, 16, 17, 31, 33, 64, 65)

DENSE = [
    LayerCase(f"dense-{n}-{m}", "dense", n, m)
    for n, m in [*((n, 17) for n in WIDTHS), *((33, m) for m in WIDTHS), (784, 10), (257, 129)]
]


def _conv(name: str, inputs: int, outputs: int, size: Pair, kernel: Pair, **more: Any) -> LayerCase:
    return LayerCase(f"conv-{name}", "conv", inputs, outputs, size, kernel, **more)


SAME = {"pad_begin": (1, 1), "pad_end": (1, 1)}
CONV = [
    *(_conv(f"pointwise-{n}-{m}", n, m, (5, 7), (1, 1)) for n, m in [(1, 1), (16, 17), (65, 31)]),
    *(_conv(f"3x3-{n}-{m}", n, m, (6, 9), (3, 3), **SAME) for n, m in [(3, 64), (17, 33), (33, 3)]),
    _conv("one-pixel-wide", 5, 6, (9, 1), (3, 1), pad_begin=(1, 0), pad_end=(1, 0)),
    _conv("wide-row", 3, 5, (1, 65), (1, 5), pad_begin=(0, 2), pad_end=(0, 2)),
    _conv("valid-5x5", 6, 16, (14, 14), (5, 5)),
    _conv("one-channel", 1, 33, (9, 20), (3, 3)),
    _conv("one-channel-padded", 1, 40, (12, 11), (5, 5), pad_begin=(2, 2), pad_end=(2, 2)),
    _conv("whole-image", 16, 20, (5, 5), (5, 5)),
    _conv("whole-image-wide", 3, 33, (2, 9), (2, 9)),
    _conv("whole-image-groups", 16, 20, (5, 5), (5, 5), groups=2),
    _conv("stride-2", 8, 15, (9, 11), (3, 3), stride=(2, 2), **SAME),
    _conv("stride-2-asymmetric", 3, 32, (8, 8), (3, 3), stride=(2, 2), pad_end=(1, 1)),
    _conv("stride-over-kernel", 4, 7, (11, 13), (2, 2), stride=(3, 4)),
    _conv("stride-mixed", 4, 9, (9, 10), (3, 2), stride=(1, 3), pad_begin=(2, 0), pad_end=(0, 1)),
    _conv("dilated", 7, 9, (11, 12), (3, 3), dilation=(2, 3), pad_begin=(2, 3), pad_end=(2, 3)),
    _conv("dilated-strided", 7, 9, (13, 12), (3, 2), stride=(2, 1), dilation=(3, 2)),
    _conv("groups-2", 6, 10, (7, 7), (3, 3), groups=2, **SAME),
    _conv("groups-4-strided", 32, 20, (7, 6), (3, 3), groups=4, stride=(2, 2), **SAME),
    _conv("depthwise-17", 17, 17, (7, 8), (3, 3), groups=17, **SAME),
    _conv(
        "depthwise-64-stride-2", 64, 64, (8, 8), (3, 3), groups=64, stride=(2, 2), pad_end=(1, 1)
    ),
    _conv("depthwise-5x5-dilated", 15, 15, (11, 9), (5, 5), groups=15, dilation=(2, 1)),
    _conv("depthwise-multiplier-2", 9, 18, (6, 7), (3, 3), groups=9, **SAME),
    _conv("7x7-strided", 3, 33, (13, 14), (7, 7), stride=(2, 3), pad_begin=(3, 3), pad_end=(3, 2)),
    _conv("padding-over-rows", 3, 17, (2, 3), (2, 2), stride=(4, 3), pad_begin=(4, 3)),
    _conv("padding-over-kernel", 3, 4, (3, 4), (2, 2), pad_begin=(3, 2), pad_end=(2, 3)),
]

# Enough pixels for vectors over pixels, with remainders; rows beyond one block of 128; with 49
# outputs and more, enough of all for a matrix unit.
PANEL = [
    _conv("panel-3x3-20-33", 20, 33, (11, 13), (3, 3), **SAME),
    _conv("panel-pointwise-130-19", 130, 19, (9, 15), (1, 1)),
    _conv("panel-3x3-97-50", 97, 50, (9, 11), (3, 3), **SAME),
    _conv("panel-pointwise-70-49", 70, 49, (9, 15), (1, 1)),
    _conv("panel-stride-2-98-49", 98, 49, (17, 19), (3, 3), stride=(2, 2), pad_begin=(1, 1)),
    _conv("panel-stride-2-7-18", 7, 18, (21, 19), (5, 5), stride=(2, 2), pad_end=(1, 2)),
    _conv("panel-groups-2", 16, 20, (12, 12), (3, 3), groups=2, **SAME),
    _conv("panel-pointwise-stride-2", 20, 33, (17, 15), (1, 1), stride=(2, 2)),
    _conv("panel-strides-3-2", 24, 20, (21, 20), (4, 3), groups=2, stride=(3, 2), pad_begin=(1, 1)),
    _conv("panel-dilated", 6, 17, (17, 15), (3, 2), dilation=(2, 3), pad_begin=(2, 0)),
]

CONV_1D = [
    LayerCase("conv1d-3", "conv", 5, 17, (19,), (3,), pad_begin=(0, 1), pad_end=(0, 1)),
    LayerCase("conv1d-strided", "conv", 16, 9, (33,), (4,), stride=(1, 3), pad_begin=(0, 2)),
    LayerCase("conv1d-dilated-groups", "conv", 6, 8, (21,), (3,), dilation=(1, 4), groups=2),
    LayerCase("conv1d-depthwise", "conv", 17, 17, (16,), (5,), groups=17, pad_end=(0, 2)),
]

CONV_TRANSPOSE = [
    LayerCase("transposed-2x2-stride-2", "conv_transpose", 6, 5, (4, 5), (2, 2), stride=(2, 2)),
    LayerCase(
        "transposed-3x3-cropped", "conv_transpose", 17, 16, (5, 4), (3, 3), stride=(2, 2),
        pad_begin=(1, 1), pad_end=(1, 1), output_padding=(1, 1),
    ),
    LayerCase(
        "transposed-groups-dilated", "conv_transpose", 6, 9, (4, 6), (3, 2), groups=3,
        stride=(1, 2), dilation=(2, 1), pad_begin=(1, 0), pad_end=(0, 1),
    ),
    LayerCase("transposed-one-pixel", "conv_transpose", 20, 7, (1, 1), (4, 3)),
    LayerCase("transposed-gaps", "conv_transpose", 4, 3, (3, 3), (2, 1), stride=(3, 2)),
    LayerCase(
        "transposed-panel", "conv_transpose", 18, 17, (9, 10), (3, 3), stride=(2, 2),
        pad_begin=(1, 1), pad_end=(0, 0),
    ),
    LayerCase("transposed-1d", "conv_transpose", 5, 7, (9,), (4,), stride=(1, 2), pad_end=(0, 1)),
]  # fmt: skip

LAYERS = [*DENSE, *CONV, *PANEL, *CONV_1D, *CONV_TRANSPOSE]

RULES = {
    "epsilon": oracle.Rule("epsilon"),
    "epsilon-0.1": oracle.Rule("epsilon", stabilizer=0.1),
    "z_plus": oracle.Rule("z_plus"),
    "alpha1_beta0": oracle.Rule("alpha_beta", alpha=1, beta=0),
    "alpha2_beta1": oracle.Rule("alpha_beta", alpha=2, beta=1),
    "alpha3_beta2": oracle.Rule("alpha_beta", alpha=3, beta=2),
    "gamma": oracle.Rule("gamma"),
    "gamma-2": oracle.Rule("gamma", gamma=2.0, stabilizer=1e-3),
    "w_square": oracle.Rule("w_square"),
    "flat": oracle.Rule("flat"),
    "z_box": oracle.Rule("z_box", low=-5.0, high=6.0),  # holds all inputs: no cancellation
    "reweighted": oracle.Rule("reweighted", alpha=1.5, beta=0.5, stabilizer=0.1),
    "norm": oracle.Rule("norm"),
}

SIGNS = ("nonnegative", "sparse", "signed", "negative")


def signed_input(shape: tuple[int, ...], sign: str, rng: np.random.Generator) -> Array:
    """sparse: as behind a ReLU, 70 % exact zeros."""
    x = rng.standard_normal(shape)
    if sign == "signed":
        return x.astype(np.float32)
    x = np.abs(x)
    if sign == "sparse":
        x[rng.random(shape) < 0.7] = 0
    return (-x if sign == "negative" else x).astype(np.float32)


@dataclass
class LayerData:
    """float32 data; relevance is zero where the plain output is not clearly away from zero."""

    x: Array
    weight: Array
    bias: Array | None
    relevance: Array
    extra: dict[str, Any] = field(default_factory=dict)


def layer_data(case: LayerCase, sign: str, bias: bool, seed: int = 0, batch: int = 2) -> LayerData:
    """Weights as after training: scaled by the fan-in, with a few exact zeros.

    Dividing by an output close to zero amplifies any rounding without limit, so relevance is put
    on outputs with |z| >= |W||x| / 50 only, in [0.5, 1.5] times the output's size.
    """
    rng = np.random.default_rng([seed, *case.id.encode()])
    x = signed_input((batch, *case.input_shape), sign, rng)
    fan_in = float(np.prod(case.weight_shape[1:]))
    weight = (rng.standard_normal(case.weight_shape) / np.sqrt(fan_in)).astype(np.float32)
    weight[rng.random(case.weight_shape) < 0.05] = 0
    b = (0.3 * rng.standard_normal(case.outputs)).astype(np.float32) if bias else None
    layer = case.oracle(weight.astype(np.float64), None if b is None else b.astype(np.float64))
    x64 = x.astype(np.float64)
    z = layer.forward(x64)
    plain = layer.apply(layer.weight, x64)
    size = layer.apply(np.abs(layer.weight), np.abs(x64))
    clear = (np.abs(z) >= size / 50) & (np.abs(plain) >= size / 50)
    r = np.where(clear, z * rng.uniform(0.5, 1.5, z.shape), 0).astype(np.float32)
    return LayerData(x, weight, b, r)
