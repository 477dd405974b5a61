"""One digit at a time: calls from Python, an array in and an array out."""

from __future__ import annotations

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.cases import LENET, PERCEPTRON

RIVALS = ("onnxruntime forward", "torch gradient", "zennit")


def bench_lenet(bench: Bench) -> None:
    bench.compare(LENET, 1, "alpha2_beta1", RIVALS)


def bench_perceptron(bench: Bench) -> None:
    """Bound by reading the weights: once forward, once backward, from wherever they lie."""
    read = 2 * PERCEPTRON.weight_bytes()
    bench.record(read_bytes=read, limits=machine.limits(bench.n_threads, read))
    bench.compare(PERCEPTRON, 1, "alpha2_beta1", RIVALS)
