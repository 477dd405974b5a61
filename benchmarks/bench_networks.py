"""Heatmaps of whole networks: relprop, ONNX Runtime, torch, Zennit and Captum side by side."""

from __future__ import annotations

import pytest

from benchmarks.bench import Bench
from benchmarks.cases import EFFICIENTNET, RESNET, SQUEEZENET, VGG, VGG_RANDOM, Case

FORWARD = ("onnxruntime forward", "torch forward")
GRADIENT = ("onnxruntime forward", "torch gradient")
RULE = (*GRADIENT, "zennit")

# Zennit takes half a minute for one pass over VGG-16 at batch 8, so it does not run for both
# sets of weights. Captum's α1β0 means the same as relprop's only without biases.
RUNS: list[tuple[Case, int, str, tuple[str, ...]]] = [
    (VGG, 8, "forward", FORWARD),
    (VGG, 8, "gradient", GRADIENT),
    (VGG, 8, "alpha1_beta0", ("onnxruntime forward", "zennit")),
    (VGG, 8, "alpha2_beta1", (*RULE, "torch split")),
    (VGG, 1, "alpha1_beta0", ("onnxruntime forward", "zennit")),
    (VGG, 1, "alpha2_beta1", (*RULE, "torch split")),
    (VGG_RANDOM, 8, "forward", FORWARD),
    (VGG_RANDOM, 8, "alpha1_beta0", (*GRADIENT, "captum")),
    (VGG_RANDOM, 8, "alpha2_beta1", GRADIENT),
    (VGG_RANDOM, 1, "alpha1_beta0", GRADIENT),
    (VGG_RANDOM, 1, "alpha2_beta1", GRADIENT),
    (RESNET, 8, "alpha1_beta0", GRADIENT),
    (RESNET, 8, "alpha2_beta1", RULE),
    (SQUEEZENET, 1, "alpha2_beta1", RULE),
    (SQUEEZENET, 8, "alpha2_beta1", RULE),
    (SQUEEZENET, 8, "epsilon", ("onnxruntime forward", "zennit", "captum")),
    (EFFICIENTNET, 1, "alpha2_beta1", RULE),
    (EFFICIENTNET, 8, "alpha2_beta1", RULE),
]
QUICK = [
    (VGG, 8, "alpha2_beta1"),
    (VGG, 1, "alpha2_beta1"),
    (SQUEEZENET, 1, "alpha2_beta1"),
    (EFFICIENTNET, 1, "alpha2_beta1"),
]


def params() -> list[object]:
    return [
        pytest.param(
            case,
            batch,
            task,
            rivals,
            id=f"{case.id}-{batch}-{task}",
            marks=() if (case, batch, task) in QUICK else pytest.mark.full,
        )
        for case, batch, task, rivals in RUNS
    ]


@pytest.mark.parametrize(("case", "batch", "task", "rivals"), params())
def bench_network(bench: Bench, case: Case, batch: int, task: str, rivals: tuple[str, ...]) -> None:
    bench.compare(case, batch, task, rivals)
