"""What the benchmarks share: check everyone's result, let them take turns, record it.

A record is the ``extra_info`` of a benchmark in pytest-benchmark's JSON. Its own statistics are of
relprop alone, per block of calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.agreement import check
from benchmarks.cases import Case, NoDataError
from benchmarks.paired import LEAST, Array, Contender, Turns
from benchmarks.rivals import Setting, contender, float64_reference, onnxruntime_forward

Result = TypeVar("Result")

# Those that --fast-rivals leaves out where the batch is large.
SLOW = frozenset({"torch split", "zennit", "captum"})


def setting_of(case: Case, batch: int, n_threads: int) -> Setting:
    """The start is the network's output: of the predicted class, or the whole of an output map."""
    try:
        path, x = case.path(), case.inputs(batch)
    except NoDataError as problem:
        pytest.skip(str(problem))
    y = onnxruntime_forward(path, x, n_threads)()
    if y.ndim == 2:
        y = np.where(np.arange(y.shape[1]) == y.argmax(1)[:, None], y, 0).astype(np.float32)
    return Setting(path, x, y, n_threads)


@functools.lru_cache(maxsize=8)
def reference(case: Case, task: str) -> Array:
    """Of the first sample, in float64."""
    return float64_reference(setting_of(case, 1, 1), task)


class Bench:
    """The fixture: pytest-benchmark's, with rivals."""

    def __init__(
        self, benchmark: BenchmarkFixture, n_threads: int, budget: float, *, fast_rivals: bool
    ) -> None:
        """budget: seconds that each contender may spend on its rounds."""
        self.benchmark, self.n_threads = benchmark, n_threads
        self.budget, self.fast_rivals = budget, fast_rivals
        self.record(n_threads=n_threads)

    def compare(self, case: Case, batch: int, task: str, names: Sequence[str]) -> None:
        """relprop's task against the rivals of these names, on a network."""
        setting = setting_of(case, batch, self.n_threads)
        taken = [n for n in names if not (n in SLOW and batch > 1 and self.fast_rivals)]
        subject, *rivals = [contender(name, setting, task) for name in ("relprop", *taken)]
        self.describe(case, batch, task)
        self.pair(case, subject, rivals)

    def describe(self, case: Case, batch: int, task: str) -> None:
        self.record(case=case.id, title=case.title, batch=batch, task=task)

    def pair(self, case: Case, subject: Contender, rivals: Sequence[Contender]) -> None:
        """Checks all results, with float64 and with one another. Then times them.

        Raises:
            AssertionError: one deviates.
        """
        kept: dict[str, Array] = {}
        for one in (subject, *rivals):
            result = one.warm_up(self.budget)
            self.check(case, one, result)
            other = kept.setdefault(one.task, result)
            check(one.name, one.task, result, other, factor=2 * case.amplifies)
        self.take_turns(subject, rivals)

    def check(self, case: Case, one: Contender, result: Array | None = None) -> None:
        """Records how far a contender's result, default: of a call now, is from float64.

        Raises:
            AssertionError: it is too far.
        """
        result = one.run() if result is None else result
        expected = reference(case, one.task)
        error = check(one.name, one.task, result, expected, factor=case.amplifies)
        self.benchmark.extra_info.setdefault("errors", {})[one.name] = error

    def take_turns(self, subject: Contender, rivals: Sequence[Contender]) -> None:
        """Times and records those that have been warmed up."""
        turns, rounds = Turns(subject, rivals), max(subject.rounds, LEAST)
        self.benchmark.pedantic(
            subject.block, setup=turns.before, teardown=turns.after, rounds=rounds
        )
        self.record_times(
            subject.name, {rival.name: rival.seconds for rival in rivals}, subject.calls
        )

    def record_times(
        self, subject: str, others: Mapping[str, Sequence[float | None]], calls: int = 1
    ) -> None:
        """The seconds of each round; the subject's are those that pytest-benchmark took."""
        if self.benchmark.stats is not None:  # None with --benchmark-disable
            own = [seconds / calls for seconds in self.benchmark.stats.stats.data]
            self.record(subject=subject, seconds={subject: own, **others})

    def once(self, measure: Callable[[], Result]) -> Result:
        """For measurements that are not repeated times: programs and other processes."""
        result: Result = self.benchmark.pedantic(measure, rounds=1)
        return result

    def record(self, **info: Any) -> None:
        self.benchmark.extra_info.update(info)
