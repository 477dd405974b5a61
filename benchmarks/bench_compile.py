"""From a file to a network that is ready: loading and compiling."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

import relprop as rp
from benchmarks.bench import Bench, setting_of
from benchmarks.cases import VGG, VGG_RANDOM, Case
from benchmarks.rivals import contender, onnxruntime_session

TASK = "alpha2_beta1"
ROUNDS = 5

Result = TypeVar("Result")


def timed(seconds: list[float], action: Callable[[], Result]) -> Result:
    begin = time.perf_counter()
    result = action()
    seconds.append(time.perf_counter() - begin)
    return result


@pytest.mark.parametrize(
    "case", [VGG, pytest.param(VGG_RANDOM, marks=pytest.mark.full)], ids=lambda case: case.id
)
def bench_compile(bench: Bench, case: Case) -> None:
    """relprop: the plan of an α2β1 heatmap. Beside it reading the file, and ONNX Runtime's session,
    which does both.
    """
    setting = setting_of(case, 1, bench.n_threads)
    bench.describe(case, 1, TASK)
    bench.check(case, contender("relprop", setting, TASK))
    load: list[float] = []
    session: list[float] = []

    def loaded() -> tuple[tuple[rp.Model, Any], dict[str, Any]]:
        def load_network() -> tuple[rp.Model, Any]:
            model = rp.from_onnx(setting.path)
            return model, model.network(setting.x.shape[1:])

        return timed(load, load_network), {}

    def compile_plan(model: rp.Model, network: Any) -> None:
        model.plan(network, rp.composites.alpha2_beta1())

    def open_session(model: rp.Model, network: Any) -> None:
        timed(session, lambda: onnxruntime_session(setting.path, bench.n_threads))

    bench.benchmark.pedantic(compile_plan, setup=loaded, teardown=open_session, rounds=ROUNDS)
    bench.record_times("relprop", {"relprop load": load, "onnxruntime session": session})
