"""Pixel flipping: the output as a function of how many pixels have been removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relprop._arrays import Array, FloatArray, floats
from relprop._request import Call, seed
from relprop.evaluate._perturb import ORDERS, IntArray, Regions, ranks, replacement
from relprop.model import Model, checked_threads

# Perturbed samples are made and run in batches of about so many bytes of input.
BATCH_BYTES = 2**24

SCORES = ("output", "probability")


@dataclass(frozen=True)
class Curve:
    """What is left of the output while regions are removed.

    Args:
        removed: shares of the regions that are gone, float64 (S + 1,), from 0 on.
        scores: the target's output at each share, float64 (N, S + 1).
    """

    removed: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The mean curve over samples, (S + 1,)."""
        result: npt.NDArray[np.float64] = self.scores.mean(axis=0)
        return result

    @property
    def area(self) -> npt.NDArray[np.float64]:
        """The area under each sample's curve divided by its width, (N,): the mean output."""
        widths = np.diff(self.removed)
        heights = (self.scores[:, 1:] + self.scores[:, :-1]) / 2
        result: npt.NDArray[np.float64] = heights @ widths / widths.sum()
        return result


def pixel_flipping(
    model: Model,
    x: Array,
    relevance: Array | None,
    target: Any = None,
    *,
    order: str = "most",
    region: int = 1,
    fill: Any = "background",
    fraction: float = 1.0,
    steps: int = 20,
    score: str = "output",
    random_seed: int = 0,
    n_threads: int | None = None,
) -> Curve:
    """Removes regions in the order of their relevance and runs the network on what is left.

    Bach et al. 2015, section 4.2 (pixel flipping); Samek et al. 2017 (regions).

    Args:
        model: the network; its output must be classes.
        x: (N, *input_shape), float32. A sample is (features,), (channels, length) or (channels,
            height, width); all channels of a pixel are removed together.
        relevance: of the shape of x; None where order is "random".
        target: the class: an int, one int per sample, or None for the largest output of x.
        order: "most" relevant first, "least" relevant first, or "random". Ties are broken at
            random.
        region: removed are squares with this side, or stretches of a signal, of a fixed grid, by
            the sum of their relevance.
        fill: what a removed pixel becomes: a number or an array that broadcasts to a sample;
            "background" and "mean", the least value and the mean of its channel in x (of its
            feature, where samples are vectors); "noise", uniform between the channel's least and
            largest value; or "blur", the mean of its neighbourhood in the whole sample.
        fraction: the share of the regions that is removed in the end, in (0, 1].
        steps: the output is evaluated at so many shares, equally spaced up to rounding to whole
            regions.
        score: "output", or "probability", its softmax over the classes.
        random_seed: of ties, random order and noise. Results depend on nothing else.
        n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.

    Raises:
        TypeError, ValueError: an argument of another kind, shape or range.
    """
    given, network_target = _samples(model, x, target)
    chosen(order, "order", ORDERS)
    chosen(score, "score", SCORES)
    seed_of = integer(random_seed, "random_seed", 0)
    regions = Regions(given.shape[1:], integer(region, "region", 1))
    counts = _counts(regions.count, fraction, integer(steps, "steps", 1))
    if order == "random":
        scores = np.zeros((len(given), regions.count))
    else:
        scores = regions.sums(_relevance(relevance, given))
    rank = regions.spread(ranks(scores, order, seed_of))
    filled = replacement(given, fill, seed_of)
    outputs = _outputs(model, given, filled, rank, counts, checked_threads(n_threads))
    values = _scores(outputs, network_target, score)
    return Curve(counts / regions.count, values)


def selectivity(
    model: Model,
    x: Array,
    relevance: Array,
    target: Any = None,
    *,
    region: int = 4,
    fill: Any = "background",
    steps: int = 20,
    n_threads: int | None = None,
) -> npt.NDArray[np.float64]:
    """Explanation selectivity: how fast the output falls with the most relevant regions, (N,).

    Montavon, Samek, Müller 2017, section 5.2: the mean height of the pixel-flipping curve; lower is
    more selective. Arguments and exceptions are those of `pixel_flipping`.
    """
    curve = pixel_flipping(
        model, x, relevance, target, region=region, fill=fill, steps=steps, n_threads=n_threads
    )
    return curve.area


def targets_of(model: Model, x: FloatArray, target: Any) -> IntArray:
    """One class per sample: as given, or the largest output of x.

    Raises:
        TypeError, ValueError: what is not one class per sample, or a model without classes.
    """
    network = model.network(model.sample_shape(x))
    shape = network.output_shape
    if any(size != 1 for size in shape[1:]):
        raise ValueError(
            f"output '{network.output_name}' has shape {shape} per sample; accepted: classes"
        )
    asked = seed(network, len(x), target, "output", Call(("output",)))
    if asked.several:
        raise ValueError("target has several classes per sample; accepted: one per sample")
    if asked.targets is not None:
        return asked.targets[:, 0]
    largest: IntArray = model(x).reshape(len(x), -1).argmax(axis=1)
    return largest


def chosen(value: object, what: str, accepted: tuple[str, ...]) -> None:
    """Raises ValueError unless value is one of the accepted names."""
    if value not in accepted:
        names = ", ".join(map(repr, accepted))
        raise ValueError(f"{what} = {value!r}; accepted: {names}")


def integer(value: Any, what: str, least: int) -> int:
    """value as an int; TypeError or ValueError where it is none or too small."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} = {value!r}; accepted: an int")
    number = int(value.__index__())
    if number < least:
        raise ValueError(f"{what} = {number}; accepted: {least} or more")
    return number


def _samples(model: Model, x: Array, target: Any) -> tuple[FloatArray, IntArray]:
    if not isinstance(model, Model):
        raise TypeError(f"model is of type {type(model).__name__}; accepted: a relprop.Model")
    given = floats(x, "x").values
    if not len(given):
        raise ValueError("x has no samples; accepted: at least one")
    targets = targets_of(model, given, target)
    if not 2 <= given.ndim <= 4:
        raise ValueError(f"x has shape {given.shape}; accepted: (N, F), (N, C, L) or (N, C, H, W)")
    return given, targets


def _relevance(relevance: Array | None, x: FloatArray) -> FloatArray:
    values = floats(relevance, "relevance").values
    if values.shape != x.shape:
        raise ValueError(f"relevance has shape {values.shape}; accepted: {x.shape}, as x")
    return values


def _counts(regions: int, fraction: float, steps: int) -> IntArray:
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise TypeError(f"fraction = {fraction!r}; accepted: a number")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction = {fraction}; accepted: above 0, up to 1")
    last = max(round(fraction * regions), 1)
    return np.unique(np.linspace(0, last, steps + 1).round().astype(np.int64))


def _outputs(
    model: Model,
    x: FloatArray,
    filled: FloatArray,
    rank: IntArray,
    counts: IntArray,
    threads: int,
) -> FloatArray:
    """(N, counts, classes)."""
    outputs = [
        model(batch, n_threads=threads or None).reshape(len(batch), -1)
        for batch in _perturbed(x, filled, rank, counts)
    ]
    return np.concatenate(outputs).reshape(len(x), len(counts), -1)


def _perturbed(
    x: FloatArray, filled: FloatArray, rank: IntArray, counts: IntArray
) -> Iterator[FloatArray]:
    """All perturbed samples in order, all counts of a sample one after the other."""
    size = max(BATCH_BYTES // max(x[0].nbytes, 1), 1)
    total = len(x) * len(counts)
    for begin in range(0, total, size):
        sample, step = np.divmod(np.arange(begin, min(begin + size, total)), len(counts))
        limit = counts[step].reshape(-1, *(1 for _ in rank.shape[1:]))
        removed = rank[sample] < limit
        if removed.ndim < x.ndim:
            removed = removed[:, None]
        yield np.where(removed, filled[sample], x[sample])


def _scores(outputs: FloatArray, targets: IntArray, score: str) -> npt.NDArray[np.float64]:
    values = outputs.astype(np.float64)
    if score == "probability":
        values = np.exp(values - values.max(axis=2, keepdims=True))
        values /= values.sum(axis=2, keepdims=True)
    return np.take_along_axis(values, targets[:, None, None], axis=2)[..., 0]
