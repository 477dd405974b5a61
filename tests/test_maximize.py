"""Activation maximization as a user meets it: results, repeatability, and every wrong argument."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import ascent
import relprop as rp
from small import image_net, map_net, values, vector_net

Array = npt.NDArray[Any]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The layers are tiny: a second thread would only wait for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def maximize(target: Any, prior: Any = None, **options: Any) -> rp.Prototypes:
    options = {"steps": 20, "n_threads": 1} | options
    return rp.ActivationMaximization(ascent.model(), prior).maximize(target, **options)


def test_the_result() -> None:
    prior = rp.experts.Product([rp.experts.L2(0.1), rp.experts.TotalVariation(0.01)])
    found = maximize([3, 0], prior, steps=12, patience=None)
    assert found.prototypes.shape == (2, *ascent.SHAPE)
    assert found.prototypes.dtype == np.float32
    assert found.codes is None
    assert list(found.history) == ["objective", "l2", "total_variation", "total"]
    assert all(h.shape == (2, 13) and h.dtype == np.float64 for h in found.history.values())
    assert np.allclose(found.history["total"], sum(list(found.history.values())[:3]))
    assert (found.history["total"][:, -1] > found.history["total"][:, 0]).all()
    assert found.stopped == ["steps", "steps"]
    y = ascent.model()(found.prototypes).astype(np.float64)
    p = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    assert np.allclose(found.probability, p[[0, 1], [3, 0]], rtol=1e-5)
    assert np.allclose(found.history["objective"][:, -1], np.log(found.probability), atol=1e-12)


def test_an_int_is_one_target_of_log_probability() -> None:
    found = maximize(3)
    assert found.prototypes.shape == (1, *ascent.SHAPE)
    same = maximize([rp.objectives.LogProbability(3)])
    assert np.array_equal(found.prototypes, same.prototypes)


def test_experts_of_one_name_are_numbered() -> None:
    found = maximize(1, rp.experts.Product([rp.experts.L2(1), rp.experts.L2(2)]), steps=1)
    assert list(found.history) == ["objective", "l2", "l2_2", "total"]
    assert np.allclose(found.history["l2_2"], 2 * found.history["l2"])


def test_layers_have_no_probability() -> None:
    o = rp.objectives
    found = maximize([o.Layer("relu"), o.Channel("relu", 1), o.Logit(2)], steps=2)
    assert np.isnan(found.probability).tolist() == [True, True, False]


def test_the_best_restart_is_kept() -> None:
    one_by_one = [
        maximize(2, initial=values(30 + k, *ascent.SHAPE), restarts=1, steps=5).history["total"]
        for k in range(4)
    ]
    starts = np.stack([values(30 + k, *ascent.SHAPE) for k in range(4)])[None]
    found = maximize(2, initial=starts, restarts=4, steps=5)
    best = int(np.argmax([h[0, -1] for h in one_by_one]))
    assert found.restart.tolist() == [best]
    assert np.array_equal(found.history["total"], one_by_one[best])


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "views": {"jitter": 2, "scaling": 1.2, "blur": 0.5},
    "momentum": {"update": "momentum", "decay": 0.5, "decay_steps": 7},
    "normalized": {"update": "normalized", "box": (-1, 1)},
    "early": {"tolerance": 0.01, "patience": 3, "steps": 60},
}


def same(a: rp.Prototypes, i: int, b: rp.Prototypes, j: int) -> bool:
    ended = ~np.isnan(a.history["total"][i])
    other = ~np.isnan(b.history["total"][j])
    return (
        np.array_equal(a.prototypes[i], b.prototypes[j])
        and np.array_equal(a.history["total"][i][ended], b.history["total"][j][other])
        and (a.restart[i], a.stopped[i]) == (b.restart[j], b.stopped[j])
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_same_seed_same_bits(name: str) -> None:
    """Alone, in any company, in any order, with any number of threads."""
    o = rp.objectives
    prior = ascent.EXPERTS["product"][0]
    targets = [
        0,
        1,
        o.Logit(1),
        o.Channel("pool", 2),
        4,
        o.Layer("tanh"),
        o.Neuron("conv", (0, 1, 1)),
    ]
    options = {"restarts": 3, "seed": 5, **OPTIONS[name]}
    together = maximize(targets, prior, **options)
    assert len({p.tobytes() for p in together.prototypes}) == len(targets)
    backwards = maximize(targets[::-1], prior, **options, n_threads=2)
    for k, target in enumerate(targets):
        assert same(together, k, backwards, len(targets) - 1 - k)
        if k % 3 == 0:
            assert same(together, k, maximize(target, prior, **options), 0)
    other = maximize(targets, prior, **{**options, "seed": 6})
    assert not np.array_equal(together.prototypes, other.prototypes)


def test_code_space_repeats_its_bits_too() -> None:
    space = rp.CodeSpace(ascent.generator(), 0.01, 0.5, 0.5, picture=(2, 3, 3))
    together = maximize([0, 1, 2], space, restarts=3)
    assert together.codes.shape == (3, *ascent.CODE)
    alone = maximize([2], space, restarts=3, n_threads=2)
    assert np.array_equal(together.codes[2], alone.codes[0])
    assert np.array_equal(together.prototypes[2], alone.prototypes[0])
    picture = ascent.picture(torch.from_numpy(together.codes)).numpy()
    assert np.abs(together.prototypes - picture).max() < 1e-6


def test_starts_are_normal() -> None:
    """Mean and standard deviation of 18,000 numbers; noise and the middle are as told."""
    found = [
        maximize(rp.objectives.Neuron("conv", (0, 0, 0)), initial=2.0, noise=0.5, restarts=1,
                 steps=1, rate=1e-30, seed=seed).prototypes
        for seed in range(250)
    ]  # fmt: skip
    numbers = (np.concatenate(found) - 2) / 0.5
    n = numbers.size
    assert abs(numbers.mean()) < 4 / np.sqrt(n)
    assert abs(numbers.std() - 1) < 4 / np.sqrt(2 * n)
    assert len(np.unique(numbers)) > 0.99 * n


def torch_trajectory(kind: str, x: Array, steps: int, rate: float) -> Array:
    at = torch.from_numpy(x[None].copy()).requires_grad_()
    optimizers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adam": lambda: torch.optim.Adam([at], lr=rate, maximize=True),
        "momentum": lambda: torch.optim.SGD([at], lr=rate, momentum=0.9, maximize=True),
        "ascent": lambda: torch.optim.SGD([at], lr=rate, maximize=True),
        "normalized": lambda: torch.optim.SGD([at], lr=rate, maximize=True),
    }
    optimizer = optimizers[kind]()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        (ascent.OBJECTIVES["log_probability"][1](at) - 0.1 * (at**2).sum()).backward()
        assert at.grad is not None
        if kind == "normalized":
            at.grad /= (at.grad**2).mean().sqrt()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            at.clamp_(-0.8, 0.8)
    return at.detach().numpy()[0]


@pytest.mark.parametrize("kind", ["adam", "momentum", "ascent", "normalized"])
def test_updates_follow_torch(kind: str) -> None:
    """Twenty steps with decay and a box, as close to float64 as torch in float32 is."""
    x = np.clip(values(40, *ascent.SHAPE), -0.8, 0.8)
    rate = {"adam": 0.05, "momentum": 0.02, "ascent": 0.1, "normalized": 0.05}[kind]
    found = maximize(2, rp.experts.L2(0.1), update=kind, rate=rate, initial=x, restarts=1,
                     box=(-0.8, 0.8), decay=0.5, decay_steps=6, patience=None)  # fmt: skip
    exact = torch_trajectory(kind, x.astype(np.float64), 20, rate)
    rival = np.abs(torch_trajectory(kind, x, 20, rate) - exact).max()
    assert np.abs(found.prototypes[0] - exact).max() <= 4 * rival + 1e-6
    assert np.abs(found.prototypes).max() == np.float32(0.8)


def test_a_row_stops_where_it_stalls() -> None:
    found = maximize([0, rp.objectives.Logit(0)], steps=400, tolerance=1e-2, patience=10)
    assert found.stopped[0] == "stalled"
    total = found.history["total"]
    assert np.isnan(total[0, -1])
    last = np.flatnonzero(~np.isnan(total[0]))[-1]
    highest = np.maximum.accumulate(total[0, : last + 1])
    assert highest[-1] - highest[-11] <= 1e-2 * max(1, abs(highest[-11]))
    assert maximize(0, steps=400, patience=None).stopped == ["steps"]


def test_a_row_that_diverges_says_so() -> None:
    found = maximize([1], update="ascent", rate=1e38, restarts=2)
    assert found.stopped == ["diverged"]
    assert np.isfinite(found.prototypes).all()
    starts = np.stack([np.full(ascent.SHAPE, 1e38), np.zeros(ascent.SHAPE)])[None]
    found = maximize([1], initial=starts, restarts=2)
    assert found.restart.tolist() == [1]
    assert found.stopped == ["steps"]


def test_callback_and_bar(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    found = maximize([0, 1], steps=6, restarts=2, callback=seen.append, progress=True)
    assert [p.step for p in seen] == list(range(7))
    assert {(p.steps, p.climbing) for p in seen} == {(6, 4)}
    assert np.isneginf(seen[0].values).all()
    assert np.isfinite(seen[3].values).all()
    assert (seen[5].values >= found.history["total"][:, 4]).all()
    assert "6/6" in capsys.readouterr().err


def test_what_a_callback_raises_ends_the_ascent() -> None:
    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        maximize(0, callback=stop, steps=10**9)


def test_keyboard_interrupt() -> None:
    """No callback runs Python code here: the engine itself has to look for signals."""
    started = threading.Event()

    def expert(x: Array) -> tuple[float, Array]:
        started.set()
        return 0.0, np.zeros_like(x)

    def press() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)

    # Shells start background jobs with the signal ignored, and Python leaves it at that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            maximize(0, expert, restarts=1, steps=2**31 - 1, patience=None)
    finally:
        started.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert maximize(0, steps=2).prototypes.shape[0] == 1


def test_torch_in_torch_out() -> None:
    plain = maximize([0], rp.experts.L2(0.1, 0.5), steps=3)
    for prior, options in (
        (rp.experts.L2(0.1, torch.tensor(0.5)), {}),
        (rp.experts.L2(0.1, 0.5), {"initial": torch.zeros(ascent.SHAPE), "noise": 0.1}),
        (rp.experts.L2(0.1, 0.5), {"box": (torch.tensor(-99.0), 99.0)}),
        (rp.experts.Product([rp.experts.L2(0.1, torch.tensor(0.5))]), {}),
    ):
        found = maximize([0], prior, steps=3, **options)
        assert isinstance(found.prototypes, torch.Tensor)
        assert np.array_equal(found.prototypes.numpy(), plain.prototypes)
    space = rp.CodeSpace(ascent.generator(), 0.01, torch.tensor(0.5), 0.5, picture=(2, 3, 3))
    found = maximize([0], space, steps=3)
    assert isinstance(found.codes, torch.Tensor)


def test_inputs_of_open_size() -> None:
    from onnx_files import floats, model_of, node

    network = model_of(
        [
            node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["c"], ["p"], "pool"),
            node("Flatten", ["p"], ["y"], "flat"),
        ],
        {"w": floats(4, 3, 3, 3)},
        shape=("N", 3, "H", "W"),
    )
    climber = rp.ActivationMaximization(rp.from_onnx(network.SerializeToString()))
    assert climber.maximize(1, steps=2, shape=(3, 5, 7)).prototypes.shape == (1, 3, 5, 7)
    with pytest.raises(ValueError, match="shape="):
        climber.maximize(1, steps=2)
    with pytest.raises(ValueError, match=r"accepted: \(N, 3, any, any\)"):
        climber.maximize(1, steps=2, shape=(1, 5, 7))


NAN = float("nan")
o = rp.objectives
WRONG_CALLS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"target": 5}, ValueError, r"output 'classes': target = 5; accepted: 0 to 4"),
    ({"target": -1}, ValueError, r"target = -1; accepted: 0 to 4"),
    ({"target": [0, 9]}, ValueError, r"target = 9"),
    ({"target": []}, ValueError, r"target is empty"),
    ({"target": 1.5}, TypeError, r"float"),
    ({"target": [True]}, TypeError, r"target is of type bool"),
    ({"target": ["relu"]}, TypeError, r"target is of type str"),
    ({"target": o.Neuron("relu", (4, 0, 0))}, ValueError, r"axis 0 of layer 'relu' = 4"),
    ({"target": o.Neuron("relu", 1)}, ValueError, r"index 1 for layer 'relu'.*3 ints"),
    ({"target": o.Channel("relu", 4)}, ValueError, r"channel of layer 'relu' = 4"),
    ({"target": o.Layer("nothing")}, ValueError, r"no layer or output is called 'nothing'"),
    ({"target": o.Layer("image")}, ValueError, r"'image' is the input"),
    ({"steps": 0}, ValueError, r"steps = 0; accepted: 1"),
    ({"steps": 2.0}, TypeError, r"steps is of type float"),
    ({"restarts": 0}, ValueError, r"restarts = 0"),
    ({"seed": -1}, ValueError, r"seed = -1"),
    ({"update": "newton"}, ValueError, r"update = 'newton'; accepted: adam"),
    ({"rate": 0.0}, ValueError, r"rate = 0"),
    ({"rate": NAN}, ValueError, r"rate = nan"),
    ({"momentum": 1.0}, ValueError, r"momentum = 1"),
    ({"decay": 0.0}, ValueError, r"decay = 0"),
    ({"decay_steps": 0}, ValueError, r"decay_steps = 0"),
    ({"box": (1, 0)}, ValueError, r"the box is empty at value 0"),
    ({"box": 1}, TypeError, r"box = 1; accepted: \(low, high\)"),
    ({"box": (0, NAN)}, ValueError, r"box: high has NaN"),
    ({"box": (0, np.ones(5))}, ValueError, r"box: high has shape \(5,\)"),
    ({"initial": np.full((6, 6), NAN)}, ValueError, r"initial has NaN"),
    ({"initial": np.zeros((3, 3))}, ValueError, r"initial has shape \(3, 3\)"),
    ({"noise": -1.0}, ValueError, r"noise = -1"),
    ({"noise": NAN}, ValueError, r"noise = nan"),
    ({"jitter": -1}, ValueError, r"jitter = -1"),
    ({"scaling": 0.5}, ValueError, r"scaling = 0.5"),
    ({"blur": -1.0}, ValueError, r"blur = -1"),
    ({"blur": 1e9}, ValueError, r"blur = 1000000000"),
    ({"blur_steps": 0}, ValueError, r"blur_steps = 0"),
    ({"tolerance": -1.0}, ValueError, r"tolerance = -1"),
    ({"patience": 0}, ValueError, r"patience = 0"),
    ({"n_threads": 0}, ValueError, r"n_threads = 0"),
    ({"shape": (2, 5, 5)}, ValueError, r"\(N, 2, 6, 6\)"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS, ids=lambda v: str(v)[:40])
def test_wrong_calls(call: dict[str, Any], error: type[Exception], message: str) -> None:
    climbed = []
    with pytest.raises(error, match=message):
        maximize(**{"target": 0, "callback": climbed.append, **call})
    assert not climbed


E = rp.experts
SQUARE = np.eye(72, dtype=np.float32)
WRONG_EXPERTS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: E.L2(-1), ValueError, r"L2: lam = -1; accepted: a finite number, at least 0"),
    (lambda: E.L2(NAN), ValueError, r"L2: lam = nan"),
    (lambda: E.L2("a"), TypeError, r"L2: lam is of type str"),
    (lambda: E.L2(1, [NAN]), ValueError, r"L2: mean has NaN"),
    (lambda: E.L2(1, np.zeros(5)), ValueError, r"L2: mean has shape \(5,\)"),
    (lambda: E.TotalVariation(-1), ValueError, r"TotalVariation: lam = -1"),
    (lambda: E.TotalVariation(1, 0.5), ValueError, r"exponent = 0.5; .*at least 1"),
    (lambda: E.Gaussian(0), ValueError, r"either variance or covariance"),
    (lambda: E.Gaussian(0, 1, SQUARE), ValueError, r"either variance or covariance"),
    (lambda: E.Gaussian(0, 0.0), ValueError, r"variance holds 0.0; accepted: values above 0"),
    (lambda: E.Gaussian(0, [[-1.0]]), ValueError, r"variance holds -1"),
    (lambda: E.Gaussian(0, NAN), ValueError, r"variance has NaN"),
    (lambda: E.Gaussian(0, 1, weight=-1), ValueError, r"weight = -1"),
    (lambda: E.Gaussian(0, covariance=np.eye(3)), ValueError, r"accepted: \(72, 72\)"),
    (lambda: E.Gaussian(0, covariance=np.ones((2, 3))), ValueError, r"accepted: \(D, D\)"),
    (lambda: E.Gaussian(0, covariance=-SQUARE), ValueError, r"not positive definite"),
    (lambda: E.Gaussian(0, covariance=np.triu(np.ones((72, 72)))), ValueError, r"not symmetric"),
    (lambda: E.GaussianRBM(np.ones(3), 1, 1), ValueError, r"W has shape \(3,\)"),
    (lambda: E.GaussianRBM(**{**ascent.RBM, "sigma": 0.0}), ValueError, r"sigma holds 0"),
    (lambda: E.GaussianRBM(**{**ascent.RBM, "sigma": [1.0]}), ValueError, r"sigma has shape"),
    (lambda: E.GaussianRBM(**{**ascent.RBM, "hidden_bias": [NAN] * 20}), ValueError, r"NaN"),
    (
        lambda: E.GaussianRBM(np.ones((4, 2)), np.ones(4), np.ones(2)),
        ValueError,
        r"4 visible units for inputs \(2, 6, 6\)",
    ),
    (lambda: E.Product([]), ValueError, r"0 experts"),
    (lambda: E.Product([E.L2()], [1, 2]), ValueError, r"1 experts and 2 weights"),
    (lambda: E.Product([E.L2()], [-1]), ValueError, r"weights = -1"),
    (lambda: E.Product([3]), TypeError, r"prior is of type int"),
    (lambda: E.L2, TypeError, r"prior is the class L2"),
    (lambda: "l2", TypeError, r"prior is of type str"),
    (lambda: lambda x: 1.0, TypeError, r"returned float; accepted: \(log p, gradient\)"),
    (lambda: lambda x: (1.0, x[0]), ValueError, r"gradient of the log-density has shape"),
    (lambda: lambda x: (1.0, x * NAN), ValueError, r"gradient of the log-density has NaN"),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG_EXPERTS, ids=lambda v: str(v)[:40])
def test_wrong_experts(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        maximize(0, make())


WRONG_SPACES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: rp.CodeSpace(3), TypeError, r"generator is of type int"),
    (lambda: rp.CodeSpace(ascent.generator(), -1), ValueError, r"CodeSpace: lam = -1"),
    (lambda: rp.CodeSpace(ascent.generator(), 0.1, NAN), ValueError, r"scale has NaN"),
    (
        lambda: rp.CodeSpace(ascent.generator()),
        ValueError,
        r"the generator gives \(18,\), 18 values; accepted: 72, to become \(2, 6, 6\); picture",
    ),
    (
        lambda: rp.CodeSpace(ascent.generator(), picture=(1, 3, 3)),
        ValueError,
        r"18 values; accepted: 9",
    ),
    (
        lambda: rp.CodeSpace(ascent.generator(), picture=(1, 3, 6)),
        ValueError,
        r"pictures \(1, 3, 6\) cannot be resized",
    ),
    (lambda: rp.CodeSpace(ascent.generator(), picture=(0, 3, 6)), ValueError, r"picture = "),
    (
        lambda: rp.CodeSpace(ascent.generator(), 0.1, np.ones(5), picture=(2, 3, 3)),
        ValueError,
        r"scale has shape \(5,\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG_SPACES, ids=lambda v: str(v)[:40])
def test_wrong_code_spaces(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        maximize(0, make())


def test_views_are_for_images() -> None:
    space = rp.CodeSpace(ascent.generator(), picture=(2, 3, 3))
    with pytest.raises(ValueError, match="x is a code here"):
        maximize(0, space, jitter=1)
    flat = rp.ActivationMaximization(vector_net())
    with pytest.raises(ValueError, match=r"the input has shape \(4,\)"):
        flat.maximize(0, jitter=1)
    with pytest.raises(ValueError, match=r"total_variation: the input has shape \(4,\)"):
        rp.ActivationMaximization(vector_net(), E.TotalVariation()).maximize(0)


def test_classes_are_asked_of_outputs_that_have_them() -> None:
    with pytest.raises(ValueError, match=r"'map' has shape \(2, 4, 4\) per sample, not classes"):
        rp.ActivationMaximization(map_net()).maximize(0)
    found = rp.ActivationMaximization(map_net()).maximize(o.Neuron("conv", (1, 2, 3)), steps=2)
    assert found.prototypes.shape == (1, 3, 6, 6)


def test_a_model_is_needed() -> None:
    with pytest.raises(TypeError, match=r"model is of type int; accepted: a relprop\.Model"):
        rp.ActivationMaximization(3)  # type: ignore[arg-type]


def test_one_object_serves_many_threads() -> None:
    climber = rp.ActivationMaximization(image_net(), E.L2(0.1))
    alone = climber.maximize([0, 1], steps=10, n_threads=1).prototypes
    found: list[Array] = []

    def call() -> None:
        found.append(climber.maximize([0, 1], steps=10, n_threads=1).prototypes)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(alone, other) for other in found)
