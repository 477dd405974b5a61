"""Scripts for Zennit and Captum, and the same with one changed import, on torch modules.

Both get the same module, input and target. The first call, which compiles, is not timed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import LRP as CaptumLRP
from captum.attr._utils.custom_modules import Addition_Module

from benchmarks import dropin_modules
from benchmarks.agreement import check
from benchmarks.bench import Bench
from benchmarks.paired import Array, Contender
from relprop.compat import captum as captum_front
from relprop.compat import zennit as zennit_front
from zennit_stub import import_zennit

# The bar of agreement.py; ε rules divide by sums of both signs.
TASK = "epsilon"
EPSILON = 1e-3
COMPOSITES = ("epsilon_plus", "epsilon_alpha2_beta1_flat")
BATCH = 8
# At least, also for rivals that take many seconds: single rounds were off by a third.
ROUNDS = 3
TITLES = {"vgg16": "VGG-16", "resnet50": "ResNet-50"}


def images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 224, 224, generator=generator)


def zennit_script(package: Any, module: Any, composite: Any, x: torch.Tensor) -> Array:
    with package.attribution.Gradient(model=module, composite=composite) as attributor:
        start = torch.eye(1000, dtype=x.dtype)[: len(x)]
        _, relevance = attributor(x, start)
    return relevance.detach().numpy()


def captum_script(lrp: Callable[[Any], Any], module: Any, x: torch.Tensor) -> Array:
    relevance = lrp(module).attribute(x, target=list(range(len(x))))
    return relevance.detach().numpy()


def compare(bench: Bench, module: Any, rival: str, run: Callable[..., Array]) -> None:
    """run(which, module, x): "relprop" or the rival, which in float64 is the reference.

    Each has a module of its own: Captum writes to the weights and back, which relprop would notice
    and compile again.
    """
    torch.set_num_threads(bench.n_threads)
    x = images(BATCH)
    reference = run(rival, copy.deepcopy(module).double(), x[:1].double())
    modules = {"relprop": module, rival: copy.deepcopy(module)}
    everyone = [
        Contender(name, TASK, lambda name=name, own=own: run(name, own, x))
        for name, own in modules.items()
    ]
    errors, results = {}, []
    for one in everyone:
        results.append(one.warm_up(bench.budget))
        one.rounds = max(one.rounds, ROUNDS)
        errors[one.name] = check(one.name, TASK, results[-1], reference)
    check("relprop", TASK, results[0], results[1], factor=2)
    bench.record(errors=errors)
    bench.take_turns(everyone[0], everyone[1:])


@pytest.mark.full
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("network", ["vgg16", "resnet50"])
def bench_zennit(bench: Bench, network: str, composite: str) -> None:
    zennit = import_zennit()
    module = getattr(dropin_modules, network)()
    packages = {"relprop": zennit_front, "zennit": zennit}
    made = {
        name: package.composites.COMPOSITES[composite](
            epsilon=EPSILON, canonizers=dropin_modules.merged_batch_norm(zennit)
        )
        for name, package in packages.items()
    }

    def run(name: str, module: Any, x: torch.Tensor) -> Array:
        return zennit_script(packages[name], module, made[name], x)

    bench.record(case=network, title=TITLES[network], batch=BATCH, task=f"zennit {composite}")
    compare(bench, module, "zennit", run)


@pytest.mark.full
@pytest.mark.parametrize("network", ["vgg16", "resnet50"])
def bench_captum(bench: Bench, network: str) -> None:
    make = {"vgg16": dropin_modules.vgg16,
            "resnet50": lambda: dropin_modules.resnet50(Addition_Module)}[network]  # fmt: skip
    scripts = {"relprop": captum_front.LRP, "captum": CaptumLRP}

    def run(name: str, module: Any, x: torch.Tensor) -> Array:
        return captum_script(scripts[name], module, x)

    bench.record(case=network, title=TITLES[network], batch=BATCH, task="captum epsilon")
    compare(bench, make(), "captum", run)
