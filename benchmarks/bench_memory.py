"""Peak memory of a heatmap above the network's weights, each engine in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ROOT
from benchmarks.bench import Bench, setting_of
from benchmarks.cases import VGG
from benchmarks.rivals import contender

TASK = "alpha2_beta1"
ENGINES = ("relprop", "zennit", "torch gradient")


@pytest.mark.parametrize("batch", [pytest.param(1), pytest.param(8, marks=pytest.mark.full)])
def bench_memory(bench: Bench, batch: int, tmp_path: Path) -> None:
    """Copies of the weights, packed or split, count as memory above them."""
    setting = setting_of(VGG, batch, bench.n_threads)
    bench.describe(VGG, batch, TASK)
    for engine in ENGINES:
        bench.check(VGG, contender(engine, setting_of(VGG, 1, bench.n_threads), TASK))
    given = tmp_path / "input.npz"
    np.savez(given, x=setting.x, start=setting.start)

    def footprint(engine: str) -> dict[str, int]:
        arguments = [engine, str(given), str(bench.n_threads), TASK, str(setting.path)]
        command = [sys.executable, "-m", "benchmarks.footprint", *arguments]
        output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        found: dict[str, int] = json.loads(output)
        return found

    def everyone() -> dict[str, Any]:
        return {engine: footprint(engine) for engine in ENGINES}

    bench.record(weight_bytes=VGG.weight_bytes(), bytes=bench.once(everyone))
