"""Which pixels go when, and what comes in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop._arrays import FloatArray, real_values

FILLS = ("background", "mean", "noise", "blur")
ORDERS = ("most", "least", "random")

IntArray = npt.NDArray[np.int64]

# Streams of random numbers that must not coincide under one seed.
_TIES, _NOISE = 0, 1


@dataclass(frozen=True)
class Regions:
    """The squares of a grid that is laid over samples; those at the far edges may be smaller.

    A sample is (features,), where each feature is a region, (channels, length) or
    (channels, height, width). All channels of a pixel go together.
    """

    shape: tuple[int, ...]
    region: int

    @property
    def space(self) -> tuple[int, ...]:
        """The sample's shape without channels."""
        return self.shape[len(self.shape) > 1 :]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many regions lie along each axis."""
        return tuple(-(-size // self.region) for size in self.space)

    @property
    def count(self) -> int:
        """How many regions there are."""
        return int(np.prod(self.grid))

    def sums(self, relevance: FloatArray) -> npt.NDArray[np.float64]:
        """Relevance (N, *shape) summed over channels and regions: (N, count)."""
        values = relevance.astype(np.float64)
        if len(self.shape) > 1:
            values = values.sum(axis=1)
        for axis, size in enumerate(self.space, 1):
            values = np.add.reduceat(values, np.arange(0, size, self.region), axis=axis)
        return values.reshape(len(values), -1)

    def spread(self, values: IntArray) -> IntArray:
        """What each pixel has of its region's value: (N, count) -> (N, *space)."""
        result = values.reshape(-1, *self.grid)
        for axis, size in enumerate(self.space, 1):
            result = result.repeat(self.region, axis=axis).take(np.arange(size), axis=axis)
        return result


def ranks(scores: npt.NDArray[np.float64], order: str, seed: int) -> IntArray:
    """For every region, how many go before it, (N, count). Ties are broken at random, by seed."""
    result = np.empty(scores.shape, np.int64)
    sign = {"most": -1.0, "least": 1.0, "random": 0.0}[order]
    for i, score in enumerate(scores):
        ties = np.random.default_rng((seed, _TIES, i)).permutation(len(score))
        result[i, np.lexsort((ties, sign * score))] = np.arange(len(score))
    return result


def replacement(x: FloatArray, fill: Any, seed: int) -> FloatArray:
    """What stands where a pixel was removed, (N, *shape).

    Raises:
        TypeError, ValueError: no fill, or one that does not fit a sample.
    """
    if not isinstance(fill, str):
        return _constant(x, fill)
    if fill not in FILLS:
        accepted = ", ".join(map(repr, FILLS))
        raise ValueError(f"fill = {fill!r}; accepted: {accepted}, a number or an array")
    if fill == "blur":
        return _blurred(x)
    # One value per channel, or per feature of a vector.
    axes = (0, *range(2, x.ndim))
    if fill == "mean":
        values = x.mean(axis=axes, keepdims=True, dtype=np.float64)
        return np.broadcast_to(values.astype(np.float32), x.shape)
    low = x.min(axis=axes, keepdims=True)
    if fill == "background":
        return np.broadcast_to(low, x.shape)
    high = x.max(axis=axes, keepdims=True)
    draws = [np.random.default_rng((seed, _NOISE, i)).random(x.shape[1:]) for i in range(len(x))]
    noise: FloatArray = (low + (high - low) * np.stack(draws)).astype(np.float32)
    return noise


def _constant(x: FloatArray, fill: Any) -> FloatArray:
    values = real_values(fill, "fill")
    try:
        return np.broadcast_to(values, x.shape[1:])[None].repeat(len(x), axis=0)
    except ValueError as error:
        raise ValueError(
            f"fill has shape {values.shape}; accepted: what broadcasts to a sample {x.shape[1:]}"
        ) from error


def _blurred(x: FloatArray) -> FloatArray:
    """Means over a quarter of the sample's size, twice: a picture of the neighbourhood."""
    if x.ndim < 3:
        raise ValueError(
            f"fill = 'blur': samples have shape {x.shape[1:]}, features without neighbours; "
            "accepted: signals (C, L) or pictures (C, H, W)"
        )
    values = x.astype(np.float64)
    for axis in range(2, x.ndim):
        half = max(x.shape[axis] // 8, 1)
        for _ in range(2):
            values = _running_mean(values, axis, half)
    return values.astype(np.float32)


def _running_mean(values: npt.NDArray[np.float64], axis: int, half: int) -> npt.NDArray[np.float64]:
    """The mean over 2 half + 1 neighbours, over fewer at the edges."""
    size = values.shape[axis]
    sums = np.insert(np.cumsum(values, axis=axis), 0, 0, axis=axis)
    begin = np.maximum(np.arange(size) - half, 0)
    end = np.minimum(np.arange(size) + half + 1, size)
    counts = (end - begin).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    result: npt.NDArray[np.float64] = (sums.take(end, axis) - sums.take(begin, axis)) / counts
    return result
