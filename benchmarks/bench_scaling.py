"""How time grows with threads, with the batch and with the size of the image.

And what a model gains that is compiled for batches of dense layers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.bench import Bench, setting_of
from benchmarks.cases import PERCEPTRON, VGG, resized
from benchmarks.paired import Contender
from benchmarks.rivals import Setting, contender

TASK = "alpha2_beta1"
RIVALS = ("onnxruntime forward", "torch gradient")


def on_threads(name: str, setting: Setting, n_threads: int) -> Contender:
    one = contender(name, replace(setting, n_threads=n_threads), TASK)
    return replace(one, name=f"{name}, {n_threads} thread{'s' * (n_threads > 1)}")


@pytest.mark.parametrize("batch", [1, pytest.param(8, marks=pytest.mark.full)])
def bench_threads(bench: Bench, batch: int) -> None:
    counts = sorted({bench.n_threads, 1}, reverse=True)
    if len(counts) == 1:
        pytest.skip("one thread only")
    setting = setting_of(VGG, batch, bench.n_threads)
    subject, *others = (
        on_threads(name, setting, n) for name in ("relprop", "onnxruntime forward") for n in counts
    )
    assert np.array_equal(subject.run(), others[0].run())
    bench.describe(VGG, batch, TASK)
    bench.pair(VGG, subject, others)


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
@pytest.mark.full
def bench_batch(bench: Bench, batch: int) -> None:
    bench.compare(VGG, batch, TASK, RIVALS)


@pytest.mark.parametrize("size", [112, 224, 448])
@pytest.mark.full
def bench_size(bench: Bench, size: int) -> None:
    bench.compare(resized(size), 1, TASK, RIVALS[:1])
    bench.record(size=size)


@pytest.mark.full
@pytest.mark.parametrize("batch", [64, 256])
def bench_rows(bench: Bench, batch: int) -> None:
    setting = setting_of(PERCEPTRON, batch, bench.n_threads)
    many = contender("relprop", replace(setting, samples=batch), TASK)
    others = [contender(name, setting, TASK) for name in ("relprop", *RIVALS)]
    bench.describe(PERCEPTRON, batch, TASK)
    bench.pair(PERCEPTRON, replace(many, name="relprop, for batches"), others)
