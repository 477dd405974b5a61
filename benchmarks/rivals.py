"""What relprop is measured against, each in its own best mode, on the same network and input.

A contender is a function without arguments that computes one task; ``n_threads`` holds for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

import oracle
import relprop as rp
from torch_networks import TorchNetwork
from torch_split import split, supports
from zennit_stub import import_zennit

Array = npt.NDArray[Any]
Run = Callable[[], Array]

# (alpha, beta) by task; the other tasks are "forward" and "gradient".
RULES = {"alpha1_beta0": (1, 0), "alpha2_beta1": (2, 1)}


def relprop_runs(path: Path, output: str | None, x: Array, start: Array, n: int) -> dict[str, Run]:
    model = rp.from_onnx(path, output=output)
    methods = {task: rp.LRP(model, rp.AlphaBeta(*rule)) for task, rule in RULES.items()}
    runs = {"gradient": rp.Gradient(model), **methods}
    return {
        "forward": functools.partial(model, x, n_threads=n),
        **{
            task: functools.partial(method.attribute, x, start=start, n_threads=n)
            for task, method in runs.items()
        },
    }


def onnxruntime_runs(path: Path, output: str | None, x: Array, n: int) -> dict[str, Run]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output or session.get_outputs()[0].name]
    feed = {session.get_inputs()[0].name: x}
    return {"forward": lambda: session.run(names, feed)[0]}


def torch_runs(module: TorchNetwork, x: Array, start: Array) -> dict[str, Run]:
    given, relevance = torch.from_numpy(x), torch.from_numpy(start)

    def forward() -> Array:
        with torch.inference_mode():
            return module(given).numpy()

    def gradient() -> Array:
        variable = given.clone().requires_grad_()
        return torch.autograd.grad(module(variable), variable, relevance)[0].numpy()

    return {"forward": forward, "gradient": gradient}


def zennit_runs(module: TorchNetwork, x: Array, start: Array) -> dict[str, Run]:
    zennit = import_zennit()
    given, relevance = torch.from_numpy(x), torch.from_numpy(start)

    def attribute(alpha: int, beta: int) -> Array:
        types, rules = zennit.types, zennit.rules
        composite = zennit.composites.LayerMapComposite(
            [
                (types.Activation, rules.Pass()),
                (types.AvgPool, rules.Norm()),
                (zennit.layer.Sum, rules.Norm()),
                (types.Linear, rules.AlphaBeta(alpha, beta)),
            ]
        )
        with zennit.attribution.Gradient(module, composite) as attributor:
            return attributor(given, relevance)[1].numpy()

    return {task: functools.partial(attribute, *rule) for task, rule in RULES.items()}


def torch_split_runs(path: Path, output: str | None, x: Array, start: Array) -> dict[str, Run]:
    """Hand-written α-β, where the network is simple enough for it."""
    given, relevance = torch.from_numpy(x), torch.from_numpy(start)

    def attribute(module: torch.nn.Module) -> Array:
        variable = given.clone().requires_grad_()
        return torch.autograd.grad(module(variable), variable, relevance)[0].numpy()

    modules = {task: torch_module(path, output, np.float32) for task in RULES}
    return {
        task: functools.partial(attribute, split(module, *RULES[task]))
        for task, module in modules.items()
        if supports(module)
    }


def torch_module(path: Path, output: str | None, dtype: Any) -> TorchNetwork:
    """The ONNX file's weights in ordinary torch modules, batch norms folded, sums hookable."""
    return TorchNetwork(oracle.Network(path, dtype, output), import_zennit().layer.Sum)


def float64_references(
    path: Path, output: str | None, x: Array, start: Array, n_threads: int
) -> dict[str, Array]:
    """Every task by torch and zennit in float64, one sample at a time to bound the memory."""
    torch.set_num_threads(n_threads)
    module = torch_module(path, output, np.float64)
    parts: dict[str, list[Array]] = {}
    for i in range(len(x)):
        sample, relevance = x[i : i + 1].astype(np.float64), start[i : i + 1].astype(np.float64)
        runs = torch_runs(module, sample, relevance) | zennit_runs(module, sample, relevance)
        for task, run in runs.items():
            parts.setdefault(task, []).append(run())
    return {task: np.concatenate(values) for task, values in parts.items()}


def contenders(
    path: Path, output: str | None, x: Array, start: Array, n_threads: int
) -> dict[tuple[str, str], Run]:
    """(engine, task) -> run, relprop first."""
    torch.set_num_threads(n_threads)
    module = torch_module(path, output, np.float32)
    engines = {
        "relprop": relprop_runs(path, output, x, start, n_threads),
        "onnxruntime": onnxruntime_runs(path, output, x, n_threads),
        "torch": torch_runs(module, x, start),
        "torch split": torch_split_runs(path, output, x, start),
        "zennit": zennit_runs(module, x, start),
    }
    return {(engine, task): run for engine, runs in engines.items() for task, run in runs.items()}
