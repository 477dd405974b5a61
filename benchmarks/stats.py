"""What is said about paired times: medians, quartiles, ratios and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# None where a contender sat a round out.
Times = Sequence[float | None]


class Quartiles(NamedTuple):
    low: float
    median: float
    high: float


def quartiles(values: Times) -> Quartiles:
    known = [v for v in values if v is not None]
    if not known:
        raise ValueError("no values")
    return Quartiles(*(float(q) for q in np.quantile(known, [0.25, 0.5, 0.75])))


def paired_ratios(times: Times, others: Times) -> list[float]:
    """times over others, for the rounds in which both ran.

    What disturbs a round disturbs both, so that the ratios of rounds spread less than the ratio of
    two medians.
    """
    pairs = zip(times, others, strict=True)
    return [a / b for a, b in pairs if a is not None and b is not None]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """A confidence interval of the median that assumes nothing about the distribution.

    The interval of the sign test: [x_(k), x_(n+1-k)] of the sorted values misses the median with
    probability 2·P(B < k), B binomial (n, 1/2); k is the largest that keeps it within
    1 - confidence.

    Raises:
        ValueError: too few values for this confidence (below six for 95 %).
    """
    n = len(values)
    missed, k = 0.0, 0
    while 2 * (missed + math.comb(n, k) / 2**n) <= 1 - confidence:
        missed += math.comb(n, k) / 2**n
        k += 1
    if k == 0:
        raise ValueError(f"{n} values do not give an interval at {confidence:.0%}")
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k]


def least_values(confidence: float = 0.95) -> int:
    """How many values median_interval needs."""
    return math.ceil(math.log2(2 / (1 - confidence)))


def joint(confidence: float, comparisons: int) -> float:
    """The confidence of each of several comparisons with which all hold together (Bonferroni)."""
    return 1 - (1 - confidence) / comparisons


def verdict(ratios: Sequence[float], confidence: float = 0.95) -> str:
    """What ratios of paired times, other over base, say about the other build."""
    low, high = median_interval(ratios, confidence)
    if high < 1:
        return "faster"
    return "slower" if low > 1 else "inside the noise"
