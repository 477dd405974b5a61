"""Everything that the report shows, computed once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

import relprop as rp
from explainers import ALPHA1_BETA0, ALPHA2_BETA1, COMPOSITE, EXPLAINERS, PROPAGATING, SENSITIVITY
from page import Doubles, Floats
from prototypes import Row, make_rows
from relprop import zoo

WARM_UPS = 10


@dataclass(frozen=True)
class Rivals:
    """The digit that the network is least sure of, explained for its two best classes."""

    digit: int
    classes: tuple[int, int]
    heatmaps: dict[str, Floats]  # by explainer, (2, 28, 28)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: median and quartiles over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Study:
    """The digits, what the network says of them, and why."""

    model: rp.Model
    x: Floats  # (n, 1, 28, 28)
    label: npt.NDArray[np.int64]
    output: Floats  # (n, 10), the logits
    probability: Doubles
    predicted: npt.NDArray[np.int64]
    heatmaps: dict[str, Floats]  # by explainer, (n, 28, 28)
    sums: dict[str, Doubles]  # by explainer, ΣR of each digit
    conservation: dict[str, rp.Conservation]  # by propagating explainer, over all digits
    rivals: Rivals
    prototypes: list[Row]
    single: dict[str, Timing]  # by explainer, and "predict": one digit per call
    batch: dict[str, Timing]  # all digits per call
    rounds: int

    @property
    def score(self) -> Floats:
        """f(x) of the predicted class."""
        best: Floats = self.output.max(axis=1)
        return best


def softmax(logits: Floats) -> Doubles:
    """Probabilities of the classes."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    result: Doubles = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def make_study(rounds: int) -> Study:
    """Explains the shipped digits; every call is timed `rounds` times."""
    model = zoo.digits()
    x, label = zoo.sample_digits()
    methods = {explainer.key: explainer.make(model) for explainer in EXPLAINERS}
    output = model(x)
    predicted = output.argmax(axis=1)
    heatmaps = {key: m.attribute(x, target=predicted)[:, 0] for key, m in methods.items()}
    calls: dict[str, Callable[..., object]] = {"predict": model}
    calls |= {key: method.attribute for key, method in methods.items()}
    # On one thread the figures depend less on what else the machine does.
    calls = {key: partial(call, n_threads=1) for key, call in calls.items()}
    return Study(
        model=model,
        x=x,
        label=label,
        output=output,
        probability=softmax(output),
        predicted=predicted,
        heatmaps=heatmaps,
        sums={key: r.sum(axis=(1, 2), dtype=np.float64) for key, r in heatmaps.items()},
        conservation={e.key: methods[e.key].conservation(x, predicted) for e in PROPAGATING},
        rivals=_rivals(methods, x, output),
        prototypes=make_rows(model),
        single=_timings(calls, x[:1], rounds),
        batch=_timings(calls, x, rounds),
        rounds=rounds,
    )


def _rivals(methods: dict[str, rp.LRP | rp.Sensitivity], x: Floats, output: Floats) -> Rivals:
    ranked = np.sort(output, axis=1)
    digit = int(np.argmin(ranked[:, -1] - ranked[:, -2]))
    second, first = (int(c) for c in np.argsort(output[digit])[-2:])
    compared = (SENSITIVITY, ALPHA1_BETA0, ALPHA2_BETA1, COMPOSITE)
    targets = np.array([[first, second]])
    heatmaps = {
        e.key: methods[e.key].attribute(x[digit : digit + 1], target=targets)[0, :, 0]
        for e in compared
    }
    return Rivals(digit, (first, second), heatmaps)


def _timings(
    calls: dict[str, Callable[[Floats], object]], x: Floats, rounds: int
) -> dict[str, Timing]:
    """All calls take turns, so that what slows the machine down for a while slows all of them."""
    taken: dict[str, list[float]] = {key: [] for key in calls}
    for index in range(WARM_UPS + rounds):
        for key, call in calls.items():
            start = time.perf_counter()
            call(x)
            if index >= WARM_UPS:
                taken[key].append(1e3 * (time.perf_counter() - start))
    return {key: _timing(values) for key, values in taken.items()}


def _timing(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median, low, high)
