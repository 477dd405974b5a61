"""Heatmaps of whole networks: relprop, ONNX Runtime, torch and zennit side by side.

Checks first that all agree, then times them in turn, and prints medians and ratios. Times mean
nothing across machines; ratios of one run do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import relprop as rp
import rivals
from conftest import data_folder
from networks import EFFICIENTNET, SQUEEZENET, VGG

CASES = {case.id: case for case in (replace(VGG, size=224), SQUEEZENET, EFFICIENTNET)}

# Bars on sum |a - b| / sum |b| of a photograph, for the median over them. Rounding gives about 3e-7
# through thirteen layers. A gradient also jumps where rounding turns a ReLU (1e-5 on one photograph
# of VGG-16), and everyone's heatmap does where it decides between two nearly equal values of a
# pooling window (3e-4 on one photograph), which WORST allows for.
BARS = {"forward": 1e-5, "gradient": 1e-3, "alpha1_beta0": 1e-5, "alpha2_beta1": 1e-5}
WORST = 1e-2

Key = tuple[str, str]  # engine, task


def deviations(a: rivals.Array, b: rivals.Array) -> rivals.Array:
    """One per sample."""
    assert a.shape == b.shape, (a.shape, b.shape)
    axes = tuple(range(1, a.ndim))
    return np.abs(a - b).sum(axes, dtype=np.float64) / np.abs(b).sum(axes, dtype=np.float64)


def check(
    runs: dict[Key, rivals.Run], references: dict[str, rivals.Array], kept: dict[str, rivals.Array]
) -> dict[Key, float]:
    """Deviation from float64 on the samples that have a reference; also the warm-up.

    All samples are compared with a float32 rival: kept holds the first result of each task.
    """
    found = {}
    for (engine, task), run in runs.items():
        result, reference = run(), references[task]
        error = deviations(result[: len(reference)], reference)
        other = deviations(result, kept.setdefault(task, result))
        found[engine, task] = float(np.median(error))
        for who, values in (("float64", error), ("its rival", other / 2)):
            if not (np.median(values) <= BARS[task] and values.max() <= WORST):
                sys.exit(f"{engine} {task}: {values} from {who}")
    return found


def measure(runs: dict[Key, rivals.Run], rounds: int) -> dict[Key, list[float]]:
    """Seconds by run. One of each per round, every other round backwards."""
    seconds: dict[Key, list[float]] = {key: [] for key in runs}
    for i in range(rounds):
        for key in list(runs)[:: -1 if i % 2 else 1]:
            time.sleep(0.2)  # the rival before may still spin in its thread pool
            begin = time.perf_counter()
            runs[key]()
            seconds[key].append(time.perf_counter() - begin)
    return seconds


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def provenance(n_threads: int) -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": n_threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "relprop": rp.info(),
        **{name: version(name) for name in ("numpy", "onnxruntime", "torch", "zennit")},
    }


def report(seconds: dict[Key, list[float]], errors: dict[Key, float]) -> list[dict[str, Any]]:
    """One row per run, with its time over relprop's for the same task."""
    rows = []
    for (engine, task), values in seconds.items():
        own = statistics.median(seconds["relprop", task])
        rows.append(
            {
                "task": task,
                "engine": engine,
                "median_s": statistics.median(values),
                "min_s": min(values),
                "max_s": max(values),
                "over_relprop": statistics.median(values) / own,
                "error": errors[engine, task],
            }
        )
    return sorted(rows, key=lambda row: (list(BARS).index(row["task"]), row["over_relprop"]))


def show(rows: list[dict[str, Any]]) -> None:
    print("task          engine          median s    min s    max s   ratio     error")
    for row in rows:
        times = f"{row['median_s']:10.3f}{row['min_s']:9.3f}{row['max_s']:9.3f}"
        more = f"{row['over_relprop']:8.2f}{row['error']:10.1e}"
        print(f"{row['task']:14}{row['engine']:14}{times}{more}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", choices=CASES, default="vgg")
    parser.add_argument("--batch", type=int, default=8, help="photographs, at most 8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=rp.info()["threads"])
    parser.add_argument("--check", type=int, default=1, help="photographs compared with float64")
    parser.add_argument("--tasks", nargs="+", choices=BARS, default=list(BARS))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/networks.json"))
    return parser.parse_args()


def main() -> None:
    args = arguments()
    case, data = CASES[args.network], data_folder()
    if not data.is_dir():
        sys.exit(f"no networks at {data}; set RELPROP_DATA to the folder that holds them")
    path, x = data / case.file, case.inputs(data, args.batch)
    # The network's own output is what the heatmap explains, the same values for everyone.
    start = rivals.onnxruntime_runs(path, case.output, x, args.threads)["forward"]()

    machine = provenance(args.threads)
    for name, value in machine.items():
        print(f"{name}: {value}")
    print(f"{case.file}, output {case.output or 'the first'}, input {x.shape}", flush=True)

    references = rivals.float64_references(
        path, case.output, x[: args.check], start[: args.check], args.threads
    )
    everyone = rivals.contenders(path, case.output, x, start, args.threads)
    runs = {key: run for key, run in everyone.items() if key[1] in args.tasks}
    errors = check(runs, references, {})
    rows = report(measure(runs, args.rounds), errors)
    show(rows)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    record = {"network": args.network, "batch": args.batch, **machine, "rows": rows}
    args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
