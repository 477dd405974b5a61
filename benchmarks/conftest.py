"""Options and fixtures of the benchmarks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import relprop as rp
from benchmarks.bench import Bench
from benchmarks.machine import provenance


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("relprop")
    group.addoption("--budget", type=float, default=5, help="seconds of each contender's rounds")
    group.addoption("--fast-rivals", action="store_true", help="none of those that take long")
    group.addoption("--threads", type=int, help="of everyone; default: all cores")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors in this project, but rivals warn."""
    config.addinivalue_line("filterwarnings", "default")


def thread_count(config: pytest.Config) -> int:
    return config.getoption("--threads") or rp.info()["threads"]


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    machine_info["relprop"] = provenance(thread_count(config))


@pytest.fixture
def bench(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Bench:
    option = pytestconfig.getoption
    n_threads = thread_count(pytestconfig)
    torch.set_num_threads(n_threads)
    return Bench(benchmark, n_threads, option("--budget"), fast_rivals=option("--fast-rivals"))
