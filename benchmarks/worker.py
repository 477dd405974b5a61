"""Times the relprop that this process imports, for `compare`.

    python -m benchmarks.worker CASE BATCH N_THREADS RESULTS.npz TASK ...

Prints JSON: the folder of the package, and the seconds of a call by task. Writes what the calls
return.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import relprop as rp
from benchmarks.cases import CASES

# Calls of a task are repeated for so long, and at least so often; the fastest counts, because
# whatever disturbs a call makes it slower.
SECONDS, LEAST = 0.3, 3

METHODS: dict[str, Callable[[rp.Model], Any]] = {
    "gradient": rp.Gradient,
    "alpha1_beta0": lambda model: rp.LRP(model, rp.AlphaBeta(1, 0)),
    "alpha2_beta1": lambda model: rp.LRP(model, rp.AlphaBeta(2, 1)),
}
TASKS = ["forward", *METHODS]


def fastest(run: Callable[[], Any]) -> float:
    begin, seconds = time.perf_counter(), []
    while len(seconds) < LEAST or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(case: str, batch: str, n_threads: str, file: str, *tasks: str) -> None:
    x = CASES[case].inputs(int(batch))
    model = rp.from_onnx(CASES[case].path())
    forward = functools.partial(model, x, n_threads=int(n_threads))
    start, results, seconds = forward(), {}, {}
    for task in tasks:
        run = forward
        if task != "forward":
            method = METHODS[task](model)
            run = functools.partial(method.attribute, x, start=start, n_threads=int(n_threads))
        results[task] = run()
        seconds[task] = fastest(run)
    np.savez(file, **results)
    package = str(Path(rp.__file__).parents[1])
    print(json.dumps({"package": package, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
