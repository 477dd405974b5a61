"""Peak memory of a heatmap above the network's weights, each engine in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relprop as rp
from benchmarks import ROOT
from benchmarks.agreement import check
from benchmarks.bench import Bench, reference, setting_of
from benchmarks.cases import VGG
from benchmarks.rivals import relprop_run

TASK = "alpha2_beta1"


@pytest.mark.parametrize("batch", [pytest.param(1), pytest.param(8, marks=pytest.mark.full)])
def bench_memory(bench: Bench, batch: int, tmp_path: Path) -> None:
    """Copies of the weights, packed or split, count as memory above them."""
    setting = setting_of(VGG, batch, bench.n_threads)
    check("relprop", TASK, relprop_run(setting, TASK)(), reference(VGG, TASK))
    given = tmp_path / "input.npz"
    np.savez(given, x=setting.x, start=setting.start)

    def footprint(engine: str) -> dict[str, int]:
        arguments = [engine, str(given), str(bench.n_threads), TASK, str(setting.path)]
        command = [sys.executable, "-m", "benchmarks.footprint", *arguments]
        output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        found: dict[str, int] = json.loads(output)
        return found

    def everyone() -> dict[str, Any]:
        return {engine: footprint(engine) for engine in ("relprop", "zennit", "torch gradient")}

    weights = rp.from_onnx(setting.path).parameter_count * np.dtype(np.float32).itemsize
    bench.record(bytes=bench.once(everyone), weight_bytes=weights)
    bench.record(case=VGG.id, title=VGG.title, task=TASK, batch=batch)
