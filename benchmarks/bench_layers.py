"""Where the time of a heatmap goes: each layer of VGG-16, forward and backward."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relprop as rp
from benchmarks import machine
from benchmarks.bench import Bench, setting_of
from benchmarks.cases import VGG, VGG_RANDOM, Case
from benchmarks.paired import Contender
from benchmarks.rivals import onnxruntime_session

TASK = "alpha2_beta1"


class Profiled:
    """relprop's plan of a network; calls keep the seconds of its steps, the first aside."""

    def __init__(self, path: Path, x: Any, start: Any, n_threads: int) -> None:
        model = rp.from_onnx(path)
        self.network = model.network(x.shape[1:])
        self.plan = model.plan(self.network, rp.composites.alpha2_beta1())
        self.x, self.start, self.n_threads = x, start[:, None], n_threads
        self.profiles: list[list[dict[str, Any]]] = []

    def relevance(self) -> Any:
        found = self.plan.relevance(self.x, start=self.start, n_threads=self.n_threads)
        return found[0][:, 0]

    def __call__(self) -> Any:
        self.profiles.append(self.plan.profile(self.x, self.start, self.n_threads))

    def rows(self) -> list[dict[str, Any]]:
        """The layers that multiply, with the medians of their seconds."""
        nodes = self.network.core.nodes
        steps = [step["node"] for step in self.profiles[0]]
        rows = []
        for layer in self.plan.layers:
            if not layer["multiply_adds"] or layer["node"] not in steps:
                continue
            at = steps.index(layer["node"])
            _, _, inputs, shape = nodes[layer["node"]]
            values = math.prod(nodes[inputs[0]][3]) + math.prod(shape)
            median = {
                key: float(np.median([profile[at][key] for profile in self.profiles[1:]]))
                for key in ("forward", "backward")
            }
            rows.append(
                {
                    "layer": layer["name"],
                    "kernels": {key: layer[key] for key in ("forward", "backward")},
                    "operations": 2 * layer["multiply_adds"] * len(self.x),
                    # Weights, inputs and outputs once.
                    "bytes": 4 * (layer["parameters"] + values * len(self.x)),
                    "seconds": median,
                }
            )
        return rows


class ProfiledSession:
    """ONNX Runtime's forward pass, with the seconds of its convolutions and dense layers."""

    def __init__(self, path: Path, x: Any, n_threads: int, prefix: Path) -> None:
        self.session = onnxruntime_session(
            path, n_threads, enable_profiling=True, profile_file_prefix=str(prefix)
        )
        self.names = [self.session.get_outputs()[0].name]
        self.feed = {self.session.get_inputs()[0].name: x}

    def __call__(self) -> Any:
        return self.session.run(self.names, self.feed)[0]

    def seconds(self, layers: int) -> list[float]:
        """Medians, in the order of execution, which in a chain is the network's."""
        events = json.loads(Path(self.session.end_profiling()).read_text())
        micros = [
            event["dur"]
            for event in events
            if event.get("cat") == "Node"
            and event["args"]["op_name"] in ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul")
        ]
        assert len(micros) % layers == 0, (len(micros), layers)
        return [float(m) * 1e-6 for m in np.median(np.reshape(micros, (-1, layers))[1:], axis=0)]


@pytest.mark.parametrize(
    "case", [VGG, pytest.param(VGG_RANDOM, marks=pytest.mark.full)], ids=lambda case: case.id
)
def bench_layers(bench: Bench, case: Case, tmp_path: Path) -> None:
    batch = 1 if bench.fast_rivals else 8
    setting = setting_of(case, batch, bench.n_threads)
    ours = Profiled(setting.path, setting.x, setting.start, bench.n_threads)
    theirs = ProfiledSession(setting.path, setting.x, bench.n_threads, tmp_path / "profile")
    bench.describe(case, batch, TASK)
    bench.record(limits=machine.limits(bench.n_threads, 1 << 25))
    bench.check(case, Contender("relprop", TASK, ours.relevance))
    bench.check(case, Contender("onnxruntime forward", "forward", theirs))
    subject = Contender("relprop", TASK, ours)
    rival = Contender("onnxruntime forward", "forward", theirs)
    for one in (subject, rival):
        one.warm_up(bench.budget)
    bench.take_turns(subject, [rival])
    rows = ours.rows()
    for row, seconds in zip(rows, theirs.seconds(len(rows)), strict=True):
        row["seconds"]["onnxruntime forward"] = seconds
    bench.record(rows=rows)
