"""The same image gives the same bits alone, in any batch, with any threads, from any thread."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import oracle
from cases import RULES, LayerCase, layer_data
from engine import layer_plan, network_plan
from networks import LENET, SQUEEZENET
from relprop import _core
from synthetic import SYNTHETIC, sample_shape

Array = npt.NDArray[Any]

ISAS = _core.available_isas()
METHODS = {**RULES, "gradient": oracle.GRADIENT}


def explain(plan: _core.Plan, x: Array, n_threads: int) -> tuple[Array, Array]:
    """Relevance and output, from each sample's own largest output."""
    relevance, output, _, _ = plan.relevance(x, want_output=True, n_threads=n_threads)
    return relevance, output


def assert_invariant(plan: _core.Plan, x: Array, batches: list[int]) -> None:
    """Sample 0 is explained alone once, then in the middle of every batch."""
    relevance, output = explain(plan, x[:1], 1)
    assert np.isfinite(relevance).all()
    assert relevance.any()
    for count in batches:
        at = count // 2
        batch = np.ascontiguousarray(np.roll(x[:count], at, axis=0))
        for n_threads in (1, 2):
            again, y = explain(plan, batch, n_threads)
            assert np.array_equal(again[at], relevance[0]), (count, n_threads)
            assert np.array_equal(y[at], output[0]), (count, n_threads)
            assert np.array_equal(plan.forward(batch, n_threads)[at], output[0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", METHODS)
def test_batch_and_threads(name: str, isa: str, rng: np.random.Generator) -> None:
    for make in SYNTHETIC.values():
        model = make(True)
        x = rng.standard_normal((9, *sample_shape(model))).astype(np.float32)
        x[1] = 0  # an image without any activity must not change how others are computed
        _, plan = network_plan(model, METHODS[name], isa=isa)
        assert_invariant(plan, x, [2, 3, 9] if isa != ISAS[-1] else list(range(2, 10)))


@pytest.mark.parametrize("name", ["epsilon", "alpha2_beta1", "gamma", "gradient"])
def test_batch_and_threads_on_digits(name: str, data: Path) -> None:
    _, plan = network_plan(str(data / LENET.file), METHODS[name])
    assert_invariant(plan, LENET.inputs(data, 9), list(range(2, 10)))


def test_batch_and_threads_on_photographs(data: Path) -> None:
    _, plan = network_plan(str(data / SQUEEZENET.file), RULES["alpha2_beta1"])
    assert_invariant(plan, SQUEEZENET.inputs(data, 8), [3, 8])


WIDE = [
    LayerCase("wide-dense", "dense", 700, 300),
    LayerCase("wide-pointwise", "conv", 40, 70, (7, 7), (1, 1)),  # images share tiles
    LayerCase("wide-conv", "conv", 24, 70, (13, 19), (3, 3), pad_begin=(1, 1), pad_end=(1, 1)),
    LayerCase("wide-depthwise", "conv", 70, 70, (13, 19), (3, 3), groups=70),
]


@pytest.mark.parametrize("case", WIDE, ids=lambda case: case.id)
def test_single_layers_that_are_split_among_threads(case: LayerCase) -> None:
    for sign, front, back in [("sparse", "relu", "none"), ("signed", "none", "tanh")]:
        data = layer_data(case, sign, bias=True, batch=9)
        for isa, samples in itertools.product(ISAS, (1, 64)):
            plan = layer_plan(
                case, data.weight, data.bias, RULES["alpha2_beta1"],
                front=front, back=back, isa=isa, samples=samples,
            )  # fmt: skip
            start = data.relevance[:, None]
            alone = [
                plan.relevance(data.x[i : i + 1], start=start[i : i + 1], n_threads=1)[0]
                for i in range(9)
            ]
            for n_threads in (1, 2, 3):
                together = plan.relevance(data.x, start=start, n_threads=n_threads)[0]
                assert np.array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("workspace", [1, 1 << 16, 1 << 20])
def test_the_size_of_the_workspace_changes_nothing(workspace: int, rng: Any) -> None:
    model = _core.Model((3, 20, 20))
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    at = model.add_activation("relu", model.add_conv("conv", 0, weight), "relu")
    model.add_output("y", at)
    x = rng.standard_normal((7, 3, 20, 20)).astype(np.float32)
    rules = [_core.Rule("alpha_beta", alpha=2, beta=1)] * 3
    small = _core.Plan(model, rules, workspace_bytes=workspace)
    expected = explain(_core.Plan(model, rules), x, 2)
    for actual, wanted in zip(explain(small, x, 2), expected, strict=True):
        assert np.array_equal(actual, wanted)


def test_many_threads_share_a_plan(rng: np.random.Generator) -> None:
    model = SYNTHETIC["residual"](True)
    x = rng.standard_normal((12, *sample_shape(model))).astype(np.float32)
    _, plan = network_plan(model, RULES["alpha2_beta1"])
    expected = [explain(plan, x[i : i + 1], 1) for i in range(len(x))]

    def work(task: int) -> bool:
        i, size = task % len(x), 1 + task % 3
        batch = np.ascontiguousarray(np.roll(x, -i, axis=0)[:size])
        relevance, output = explain(plan, batch, 1 + task % 2)
        return np.array_equal(relevance[0], expected[i][0][0]) and np.array_equal(
            output[0], expected[i][1][0]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(160)))


FORK = """
import os, sys
import numpy as np
from relprop import _core

model = _core.Model((16, 24, 24))
rng = np.random.default_rng(0)
at = model.add_conv("conv", 0, rng.standard_normal((64, 16, 3, 3)).astype(np.float32))
model.add_output("y", model.add_activation("relu", at, "relu"))
plan = _core.Plan(model, [_core.Rule("z_plus")] * 3)
x = rng.standard_normal((4, 16, 24, 24)).astype(np.float32)
expected = plan.relevance(x, n_threads=2)[0]
child = os.fork()
if child == 0:
    same = np.array_equal(plan.relevance(x, n_threads=2)[0], expected)
    os._exit(0 if same else 3)
_, status = os.waitpid(child, 0)
again = np.array_equal(plan.relevance(x, n_threads=2)[0], expected)
sys.exit(os.waitstatus_to_exitcode(status) if again else 4)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_child_can_run_after_its_parent_did() -> None:
    """The parent's OpenMP threads do not exist in the child: waiting for them would hang."""
    done = subprocess.run([sys.executable, "-c", FORK], timeout=60, check=False)
    assert done.returncode == 0
