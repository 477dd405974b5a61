"""Results agree before any time is taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.paired import Array

# Bars on sum |a - b| / sum |b| of a sample, for the median over the samples. Rounding gives about
# 3e-7 through thirteen layers. A gradient also jumps where rounding turns a ReLU (1e-5 on one
# photograph of VGG-16), and everyone's heatmap does where it decides between two nearly equal
# values of a pooling window (3e-4 on one photograph), which WORST allows for.
BARS = {
    "forward": 1e-5,
    "gradient": 1e-3,
    "epsilon": 1e-3,
    "alpha1_beta0": 1e-5,
    "alpha2_beta1": 1e-5,
}
WORST = 1e-2


def deviations(a: Array, b: Array) -> npt.NDArray[np.float64]:
    """One per sample."""
    assert a.shape == b.shape, (a.shape, b.shape)
    axes = tuple(range(1, a.ndim))
    return np.abs(a - b).sum(axes, dtype=np.float64) / np.abs(b).sum(axes, dtype=np.float64)


def check(
    who: str, task: str, result: Array, expected: Array, *, both_round: bool = False
) -> float:
    """The median deviation from expected, for the samples that it has.

    both_round: expected is float32 too, and may be as far from the truth.

    Raises:
        AssertionError: it is beyond the bar.
    """
    found = deviations(result[: len(expected)], expected)
    allowed = 2 if both_round else 1
    median = float(np.median(found))
    if not (median <= allowed * BARS[task] and found.max() <= allowed * WORST):
        raise AssertionError(f"{who}, {task}: deviates by {found}; bar {allowed * BARS[task]}")
    return median
