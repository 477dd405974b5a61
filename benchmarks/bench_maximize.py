"""Activation maximization against the loop that a torch user would write, with equal steps.

Both climb log p(w_c|x) - λ‖x‖² by Adam from the same start. Their objective curves are compared
first, so that it is known that the same work is done. relprop evaluates once more than torch: at
the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import relprop as rp
from benchmarks.bench import Bench
from benchmarks.cases import LENET, SQUEEZENET, Case
from benchmarks.paired import Array, Contender
from benchmarks.rivals import torch_module

TASK = "maximize"
LAM, RATE = 1e-3, 0.05

# Of the curves, relative to 1 + |value|. ReLUs and pooling windows that rounding turns make two
# float32 ascents drift apart; over so few steps by no more than this.
MEDIAN, WORST = 1e-4, 1e-2


def torch_loop(module: Any, start: Array, targets: Array, steps: int) -> Array:
    """Objective and l2 of every row before every step, (rows, steps)."""
    x = torch.from_numpy(start.copy()).requires_grad_()
    chosen = torch.from_numpy(targets)[:, None]
    optimizer = torch.optim.Adam([x], lr=RATE, maximize=True)
    curve = []
    for _ in range(steps):
        optimizer.zero_grad()
        log_p = torch.log_softmax(module(x), 1).gather(1, chosen)[:, 0]
        total = log_p - LAM * (x**2).flatten(1).sum(1)
        total.sum().backward()
        optimizer.step()
        curve.append(total.detach().numpy())
    return np.stack(curve, 1)


def compare(bench: Bench, case: Case, targets: list[int], scale: float, steps: int) -> None:
    """scale: standard deviation of the starts."""
    module = torch_module(case.path()).requires_grad_(False)
    climber = rp.ActivationMaximization(rp.from_onnx(case.path()), rp.experts.L2(LAM))
    shape = case.inputs(1).shape[1:]
    rng = np.random.default_rng(0)
    start = rng.normal(0, scale, (len(targets), *shape)).astype(np.float32)

    def ours() -> Array:
        found = climber.maximize(
            targets, steps=steps, restarts=1, rate=RATE, patience=None, initial=start[:, None],
            shape=shape, n_threads=bench.n_threads,
        )  # fmt: skip
        return found.history["total"][:, :steps]

    def theirs() -> Array:
        return torch_loop(module, start, np.array(targets), steps)

    bench.describe(case, len(targets), TASK)
    subject, rival = Contender("relprop", TASK, ours), Contender("torch loop", TASK, theirs)
    curves = [one.warm_up(bench.budget) for one in (subject, rival)]
    apart = np.abs(curves[0] - curves[1]) / (1 + np.abs(curves[1]))
    assert np.median(apart) <= MEDIAN, np.median(apart)
    assert apart.max() <= WORST, apart.max()
    bench.record(steps=steps, curves_apart=float(apart.max()))
    bench.take_turns(subject, [rival])


def bench_lenet(bench: Bench) -> None:
    """Ten prototypes at once."""
    compare(bench, LENET, list(range(10)), 0.1, 20)


def bench_squeezenet(bench: Bench) -> None:
    """Four prototypes of 224 x 224 pixels."""
    compare(bench, SQUEEZENET, [130, 107, 340, 323], 10.0, 2)
