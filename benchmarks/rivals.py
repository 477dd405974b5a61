"""What relprop is measured against, each in its own best mode, on the same network and input."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import oracle
import relprop as rp
from benchmarks.paired import Array, Contender, Run
from benchmarks.torch_split import split
from torch_networks import TorchNetwork
from zennit_stub import import_zennit

# α-β rules by task; the other tasks are "forward", "gradient" and "epsilon".
ALPHA_BETA = {"alpha1_beta0": (1, 0), "alpha2_beta1": (2, 1)}
# Of the epsilon task: large enough that small denominators do not amplify rounding.
EPSILON = 1e-3


@dataclass(frozen=True)
class Setting:
    """What all contenders of a benchmark are given. start: relevance at the output."""

    path: Path
    x: Array
    start: Array
    n_threads: int
    samples: int = 1  # that relprop compiles for


def rule_of(task: str) -> rp.Rule:
    return rp.Epsilon(EPSILON) if task == "epsilon" else rp.AlphaBeta(*ALPHA_BETA[task])


def relprop_run(s: Setting, task: str) -> Run:
    model = rp.from_onnx(s.path).for_batches_of(s.samples)
    if task == "forward":
        return functools.partial(model, s.x, n_threads=s.n_threads)
    method = rp.Gradient(model) if task == "gradient" else rp.LRP(model, rule_of(task))
    return functools.partial(method.attribute, s.x, start=s.start, n_threads=s.n_threads)


def onnxruntime_forward(path: Path, x: Array, n_threads: int) -> Run:
    """With all graph optimisations, which are the default."""
    session = onnxruntime_session(path, n_threads)
    names = [session.get_outputs()[0].name]
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(names, feed)[0]


def onnxruntime_session(path: Path, n_threads: int, **more: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    for name, value in more.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def torch_module(path: Path, dtype: Any = np.float32) -> TorchNetwork:
    """The ONNX file's weights in ordinary torch modules, batch norms folded, sums hookable."""
    return TorchNetwork(oracle.Network(path, dtype), import_zennit().layer.Sum)


def forward_of(module: Any, given: torch.Tensor) -> Run:
    def run() -> Array:
        with torch.inference_mode():
            return module(given).contiguous().numpy()

    return run


def gradient_of(module: Any, given: torch.Tensor, start: torch.Tensor) -> Run:
    def run() -> Array:
        variable = given.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(module(variable), variable, start)
        return gradient.contiguous().numpy()

    return run


LAYOUTS = (torch.contiguous_format, torch.channels_last)


def better_layout(module: Any, given: torch.Tensor, run_of: Callable[[Any, Any], Run]) -> Run:
    """run_of(module, given) with channels first or last in memory, whichever is faster here."""
    if given.ndim != 4:
        return run_of(module, given)

    def run_in(layout: torch.memory_format) -> Run:
        return run_of(module.to(memory_format=layout), given.to(memory_format=layout))

    seconds = {}
    for layout in LAYOUTS:
        run = run_in(layout)
        run()
        begin = time.perf_counter()
        run()
        seconds[layout] = time.perf_counter() - begin
    return run_in(min(LAYOUTS, key=seconds.__getitem__))


def torch_forward(s: Setting, task: str) -> Run:
    return better_layout(
        torch_module(s.path).requires_grad_(False), torch.from_numpy(s.x), forward_of
    )


def torch_gradient(s: Setting, task: str) -> Run:
    start = torch.from_numpy(s.start)
    return better_layout(
        torch_module(s.path).requires_grad_(False),
        torch.from_numpy(s.x),
        lambda module, given: gradient_of(module, given, start),
    )


def torch_split(s: Setting, task: str) -> Run:
    """Hand-written α-β, for networks of convolutions, ReLUs and max pooling."""
    relevance = split(torch_module(s.path), *ALPHA_BETA[task])
    return gradient_of(relevance, torch.from_numpy(s.x), torch.from_numpy(s.start))


def zennit_run(module: Any, x: Array, start: Array, task: str) -> Run:
    """As zennit's documentation uses it."""
    zennit = import_zennit()
    given, relevance = torch.from_numpy(x), torch.from_numpy(start)
    rules, types = zennit.rules, zennit.types
    rule = rules.Epsilon(EPSILON) if task == "epsilon" else rules.AlphaBeta(*ALPHA_BETA[task])
    composite = zennit.composites.LayerMapComposite(
        [
            (types.Activation, rules.Pass()),
            (types.AvgPool, rules.Norm()),
            (zennit.layer.Sum, rules.Norm()),
            (types.Linear, rule),
        ]
    )

    def run() -> Array:
        with zennit.attribution.Gradient(module, composite) as attributor:
            return attributor(given, relevance)[1].numpy()

    return run


def zennit(s: Setting, task: str) -> Run:
    return zennit_run(torch_module(s.path), s.x, s.start, task)


def captum(s: Setting, task: str) -> Run:
    """Captum explains one output per sample and multiplies by it: start has to be that output."""
    import captum.attr
    from captum.attr._utils import lrp_rules

    module = torch_module(s.path)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            epsilon = task == "epsilon"
            layer.rule = (
                lrp_rules.EpsilonRule(EPSILON) if epsilon else lrp_rules.Alpha1_Beta0_Rule()
            )
    lrp, given = captum.attr.LRP(module), torch.from_numpy(s.x)
    target = torch.from_numpy(s.start.argmax(1))
    return lambda: lrp.attribute(given, target=target).detach().numpy()


# What each contender computes, where that is not the task of the benchmark.
OTHER_TASK = {
    "onnxruntime forward": "forward",
    "torch forward": "forward",
    "torch gradient": "gradient",
}
MAKERS: dict[str, Callable[[Setting, str], Run]] = {
    "relprop": relprop_run,
    "onnxruntime forward": lambda s, _: onnxruntime_forward(s.path, s.x, s.n_threads),
    "torch forward": torch_forward,
    "torch gradient": torch_gradient,
    "torch split": torch_split,
    "zennit": zennit,
    "captum": captum,
}


def contender(name: str, setting: Setting, task: str) -> Contender:
    return Contender(name, OTHER_TASK.get(name, task), MAKERS[name](setting, task))


def float64_reference(s: Setting, task: str) -> Array:
    """A task by torch or zennit in float64, one sample at a time to bound the memory."""
    module = torch_module(s.path, np.float64)
    results = []
    for i in range(len(s.x)):
        x, start = (a[i : i + 1].astype(np.float64) for a in (s.x, s.start))
        if task == "forward":
            run = forward_of(module, torch.from_numpy(x))
        elif task == "gradient":
            run = gradient_of(module, torch.from_numpy(x), torch.from_numpy(start))
        else:
            run = zennit_run(module, x, start, task)
        results.append(run())
    return np.concatenate(results)
