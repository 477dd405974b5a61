"""Explanation continuity: how much an explanation moves when its input hardly does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop._arrays import Array, FloatArray, floats
from relprop.evaluate._flipping import integer, targets_of


def continuity(
    method: Any,
    x: Array,
    target: Any = None,
    *,
    shift: int = 1,
    noise: float = 0.0,
    draws: int = 8,
    relative: bool = False,
    random_seed: int = 0,
) -> npt.NDArray[np.float64]:
    """The largest change of relevance per change of the input, max ‖R(x) - R(x')‖₁ / ‖x - x'‖₂.

    Montavon, Samek, Müller 2017, section 5.1. Neighbours x' are translations and noisy copies.

    Args:
        method: explains: a method of relprop, such as ``rp.LRP(model, rule)``.
        x: (N, *input_shape), float32.
        target: the class that is explained, for x and for its neighbours: an int, one int per
            sample, or None for the largest output of x.
        shift: translations by up to so many pixels along each axis; what comes in at the edge
            repeats it. 0 for none, and for vectors.
        noise: standard deviation of Gaussian noise, in the units of x; 0 for none.
        draws: how many noisy copies, where noise is not 0.
        relative: divide all relevance of a sample by ‖R(x)‖₁, so that methods whose relevance has
            another scale can be compared.
        random_seed: of the noise.

    Returns:
        float64 (N,); lower is more continuous. Infinite where relative divides by zero.

    Raises:
        TypeError, ValueError: an argument of another kind or range; a sample without a neighbour
            that differs from it.
    """
    if not callable(getattr(method, "attribute", None)):
        kind = type(method).__name__
        raise TypeError(f"method is of type {kind}; accepted: an object such as relprop.LRP(model)")
    given = floats(x, "x").values
    targets = targets_of(method.model, given, target)
    if not np.isfinite(noise) or noise < 0:
        raise ValueError(f"noise = {noise!r}; accepted: a finite number >= 0")
    reach = integer(shift, "shift", 0) if given.ndim > 2 else 0
    copies = integer(draws, "draws", 1) if noise else 0
    seed = integer(random_seed, "random_seed", 0)
    base = method.attribute(given, targets).astype(np.float64)
    scale = _norms(base, 1) if relative else np.ones(len(given))
    largest = np.full(len(given), -1.0)
    for neighbour in _neighbours(given, reach, noise, copies, seed):
        moved = _norms(neighbour - given.astype(np.float64), 2)
        change = _norms(method.attribute(neighbour, targets) - base, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(moved > 0, change / moved / scale, -1.0)
        largest = np.maximum(largest, np.where(np.isnan(ratio), np.inf, ratio))
    if (largest < 0).any():
        raise ValueError(
            f"x[{int(np.argmin(largest))}] equals all its neighbours; accepted: samples that a "
            "translation changes, or noise above 0"
        )
    return largest


def _neighbours(
    x: FloatArray, reach: int, noise: float, copies: int, seed: int
) -> Iterator[FloatArray]:
    axes = x.ndim - 2 if reach else 0
    for offsets in product(range(-reach, reach + 1), repeat=axes):
        if any(offsets):
            yield _translated(x, offsets)
    for draw in range(copies):
        normal = [np.random.default_rng((seed, draw, i)).standard_normal(x.shape[1:])
                  for i in range(len(x))]  # fmt: skip
        yield (x + noise * np.stack(normal)).astype(np.float32)


def _translated(x: FloatArray, offsets: tuple[int, ...]) -> FloatArray:
    for axis, offset in enumerate(offsets, 2):
        x = x.take(np.clip(np.arange(x.shape[axis]) - offset, 0, x.shape[axis] - 1), axis=axis)
    return x


def _norms(values: npt.NDArray[Any], order: int) -> npt.NDArray[np.float64]:
    flat = values.reshape(len(values), -1).astype(np.float64)
    result: npt.NDArray[np.float64] = np.linalg.norm(flat, ord=order, axis=1)
    return result
