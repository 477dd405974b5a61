"""Activation maximization in the code space of a generator: the network behind the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop import _core
from relprop._arrays import Array, FloatArray, is_tensor, real_values
from relprop.experts import _number
from relprop.model import Model, Network, accepted_shape

PREFIX = "generator/"


class CodeSpace:
    """Search among the pictures x = scale · g(z) + shift of a generator g, with -lam · ‖z‖².

    z starts at N(0, I). Montavon, Samek, Müller 2017, section 3.3; A. Nguyen et al., "Synthesizing
    the preferred inputs for neurons in neural networks via deep generator networks", 2016.

    Args:
        generator: a model from codes to pictures.
        lam: λ, at least 0.
        scale, shift: numbers, or arrays that broadcast to the model's input: they carry the
            generator's range to the model's. For tanh to [0, 1]: 0.5 and 0.5.
        picture: the shape (C, H, W) of the generator's pictures where it is another size than the
            model's input: they are resized bilinearly. Default: the generator's output is reshaped
            to the model's input.

    Raises:
        TypeError, ValueError: λ < 0, NaN, a generator that is no model.
    """

    def __init__(
        self,
        generator: Model,
        lam: float = 0.001,
        scale: Array | float = 1.0,
        shift: Array | float = 0.0,
        picture: tuple[int, int, int] | None = None,
    ) -> None:
        given: object = generator
        if not isinstance(given, Model):
            raise TypeError(
                f"CodeSpace: generator is of type {type(given).__name__}; "
                "accepted: a relprop.Model, as from rp.from_onnx"
            )
        self.generator = generator
        self.lam = _number(lam, "CodeSpace: lam")
        self.from_torch = is_tensor(scale) or is_tensor(shift)
        self.scale = real_values(scale, "CodeSpace: scale")
        self.shift = real_values(shift, "CodeSpace: shift")
        self.picture = None if picture is None else tuple(int(size) for size in picture)
        if self.picture is not None and (len(self.picture) != 3 or min(self.picture) < 1):
            raise ValueError(f"CodeSpace: picture = {picture}; accepted: (C, H, W)")


@dataclass(frozen=True)
class Joined:
    """A model behind a generator, as one network of the code."""

    network: Network
    image: int  # the node that is the model's input


def code_shape(generator: Model) -> tuple[int, ...]:
    """Sizes of a code.

    Raises:
        ValueError: the generator leaves them open.
    """
    shape = generator.input_shape
    if None in shape:
        raise ValueError(
            f"CodeSpace: the generator's input is {accepted_shape(shape)}; accepted: fixed sizes"
        )
    return tuple(size for size in shape if size is not None)


def join(space: CodeSpace, network: Network) -> Joined:
    """The network behind the generator.

    Raises:
        ValueError: the generator's pictures do not fit the network's input.
    """
    codes = code_shape(space.generator)
    generator = space.generator.network(codes)
    input_shape = network.nodes[0][3]
    core = _core.Model(codes, PREFIX + generator.nodes[0][0])
    at = core.append(generator.core, 0, generator.output, PREFIX)
    at = _fit(core, at, space, input_shape)
    at = _range(core, at, space, input_shape)
    output = core.append(network.core, at, network.output)
    core.add_output(PREFIX + "output", output)
    return Joined(Network(core, core.nodes, output, network.output_name), at)


def _fit(core: _core.Model, at: int, space: CodeSpace, wanted: tuple[int, ...]) -> int:
    """Reshapes and resizes the generator's output to the network's input."""
    shape = core.shape(at)
    picture = space.picture or wanted
    if np.prod(shape) != np.prod(picture):
        hint = "" if space.picture else "; picture=(C, H, W) resizes others"
        raise ValueError(
            f"CodeSpace: the generator gives {shape}, {int(np.prod(shape))} values; accepted: "
            f"{int(np.prod(picture))}, to become {picture}{hint}"
        )
    if shape != picture:
        at = core.add_reshape(PREFIX + "picture", at, picture)
    if picture == wanted:
        return at
    if len(wanted) != 3 or wanted[0] != picture[0]:
        raise ValueError(
            f"CodeSpace: pictures {picture} cannot be resized to the network's input {wanted}; "
            "accepted: (C, H, W) with equal C"
        )
    return _resize(core, at, picture, wanted)


def _resize(core: _core.Model, at: int, source: tuple[int, ...], to: tuple[int, ...]) -> int:
    """Bilinear, first down the columns as a 1x1 convolution whose channels are rows, then along the
    rows as a dense layer."""
    channels, height, width = source
    rows = np.tile(interpolation(height, to[1])[None], (channels, 1, 1))
    at = core.add_reshape(PREFIX + "rows", at, (channels * height, width))
    weight = np.ascontiguousarray(rows.reshape(channels * to[1], height, 1, 1))
    at = core.add_conv(PREFIX + "resize_rows", at, weight, groups=channels)
    at = core.add_dense(PREFIX + "resize_columns", at, interpolation(width, to[2]))
    return core.add_reshape(PREFIX + "resized", at, to)


def interpolation(source: int, to: int) -> FloatArray:
    """Weights (to, source) of linear interpolation between pixel centres, edges repeated."""
    at = np.clip((np.arange(to) + 0.5) * source / to - 0.5, 0, source - 1)
    first = np.minimum(np.floor(at).astype(int), max(source - 2, 0))
    weight = np.zeros((to, source))
    rows: npt.NDArray[Any] = np.arange(to)
    weight[rows, first] = 1 - (at - first)
    weight[rows, np.minimum(first + 1, source - 1)] += at - first
    return weight.astype(np.float32)


def _range(core: _core.Model, at: int, space: CodeSpace, shape: tuple[int, ...]) -> int:
    """x = scale · picture + shift."""
    if space.scale.shape == space.shift.shape == () and space.scale == 1 and space.shift == 0:
        return at
    values = []
    for name in ("scale", "shift"):
        value = getattr(space, name)
        if value.size == 1:
            values.append(np.array(value, np.float32).reshape(1))
            continue
        try:
            spread = np.broadcast_to(value, shape)
        except ValueError as error:
            raise ValueError(
                f"CodeSpace: {name} has shape {value.shape}; accepted: what broadcasts to the "
                f"network's input {shape}"
            ) from error
        values.append(np.array(spread, np.float32).reshape(-1))
    return core.add_scale_shift(PREFIX + "range", at, *values)
