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


def check(who: str, task: str, result: Array, expected: Array, *, factor: float = 1) -> float:
    """The median deviation from expected, for the samples that it has.

    factor: on the bars, where the network amplifies rounding, or expected is not exact either.

    Raises:
        AssertionError: it is beyond the bar.
    """
    found = deviations(result[: len(expected)], expected)
    median, bar = float(np.median(found)), factor * BARS[task]
    if not (median <= bar and found.max() <= max(bar, WORST)):
        raise AssertionError(f"{who}, {task}: deviates by {found}; bar {bar}")
    return median
