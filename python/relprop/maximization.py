"""Activation maximization: prototypes of what a network, or a part of it, looks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from relprop import _core, _progress
from relprop._arrays import Array, FloatArray, is_tensor, real_values
from relprop._cache import Cache
from relprop.code_space import CodeSpace, join
from relprop.experts import L2, Expert, as_expert
from relprop.model import Model, checked_threads
from relprop.objectives import LogProbability, Objective

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Rule = Literal["adam", "momentum", "normalized", "ascent"]
Target = int | Objective
Prior = Expert | CodeSpace | Callable[..., Any]

RATES = {"adam": 0.05, "momentum": 0.1, "normalized": 0.05, "ascent": 1.0}
NOISE = 0.1


@dataclass(frozen=True)
class Progress:
    """How far an ascent is.

    Attributes:
        step: the step that comes next, from 0; `steps` at the end.
        steps: how many there are.
        climbing: rows (target and restart) that have not stopped.
        values: (targets,) objective plus prior of the best restart; -inf before the first step.
    """

    step: int
    steps: int
    climbing: int
    values: DoubleArray


@dataclass(frozen=True)
class Prototypes:
    """One prototype per target: that of the best restart.

    Attributes:
        prototypes: (T, *input_shape), float32.
        codes: (T, *code_shape) with a `CodeSpace`, otherwise None.
        probability: (T,) softmax probability of the target; NaN for `Channel` and `Layer`. For a
            `Neuron`, among the values of its layer.
        history: by term ("objective", each expert's name, and "total", their sum), (T, steps + 1)
            float64: the value before each step and at the end. NaN behind the end of a row that
            stopped earlier. A second expert of one name is called name_2.
        restart: (T,) which restart is the best, by its total at the end.
        stopped: why each ended: "steps" (all are done), "stalled" (its total no longer grew) or
            "diverged" (its total or the next step was not finite; the prototype is where it was).
    """

    prototypes: Array
    codes: Array | None
    probability: DoubleArray
    history: dict[str, DoubleArray]
    restart: IntArray
    stopped: list[str]


class ActivationMaximization:
    """Prototypes: inputs that make a class, a neuron, a channel or a layer as active as possible.

    max_x objective(x) + log p(x), or max_z objective(g(z)) - λ‖z‖² with a generator g (Montavon,
    Samek, Müller, "Methods for interpreting and understanding deep neural networks", 2017, section
    3). All steps run in the engine; a target's prototype has the same bits alone, among others, in
    any order and with any number of threads.

    Args:
        model: the network.
        prior: what is known of inputs: an expert of `relprop.experts`, a `CodeSpace`, a callable
            (see `experts.Function`), or None. Default: L2().

    Raises:
        TypeError: model or prior is something else.
    """

    def __init__(self, model: Model, prior: Prior | None = L2()) -> None:  # noqa: B008
        given: object = model
        if not isinstance(given, Model):
            raise TypeError(f"model is of type {type(given).__name__}; accepted: a relprop.Model")
        self.model = model
        self.prior = prior if prior is None or isinstance(prior, CodeSpace) else as_expert(prior)
        self._problems: Cache[_Problem] = Cache(4)

    def maximize(
        self,
        target: Target | Sequence[Target],
        *,
        steps: int = 200,
        restarts: int = 4,
        seed: int = 0,
        update: Rule = "adam",
        rate: float | None = None,
        momentum: float = 0.9,
        decay: float = 1.0,
        decay_steps: int = 100,
        box: tuple[Array | float, Array | float] | None = None,
        initial: Array | float | None = None,
        noise: float | None = None,
        jitter: int = 0,
        scaling: float = 1.0,
        blur: float = 0.0,
        blur_steps: int = 4,
        tolerance: float = 1e-4,
        patience: int | None = 50,
        shape: tuple[int, ...] | None = None,
        n_threads: int | None = None,
        progress: bool = False,
        callback: Callable[[Progress], object] | None = None,
    ) -> Prototypes:
        """Climbs from random starts and keeps the best for each target.

        x below is what is sought: the input, or with a `CodeSpace` the code.

        Args:
            target: one or more; an int means `objectives.LogProbability`.
            steps: at most so many updates.
            restarts: starts per target.
            seed: of the random numbers, 0 to 2⁶⁴ - 1.
            update: "adam" (Kingma, Ba 2015), "momentum" (v ← momentum·v + g, x ← x + rate·v),
                "normalized" (x ← x + rate·g/rms(g)) or "ascent" (x ← x + rate·g).
            rate: default: 0.05, for momentum 0.1, for ascent 1.
            momentum: in [0, 1).
            decay, decay_steps: the rate is multiplied by decay after every so many steps.
            box: lowest and highest values of x, numbers or arrays that broadcast to x.
            initial: where to start: a number or an array that broadcasts to x, or one x per target
                and restart, (T, restarts, *x). Default: 0.
            noise: standard deviation of the normal noise added to the start; default: 1 for codes,
                0 if an array is given, otherwise 0.1.
            jitter: in every step the network sees the image rolled by up to so many pixels.
            scaling: ... and resized about its centre by a random factor between 1/scaling and
                scaling.
            blur: standard deviation in pixels of a Gaussian blur after every blur_steps steps.
            tolerance, patience: a row stops when its total has not grown by tolerance · max(1,
                |total|) for so many steps; patience None: never.
            shape: sizes of the input, for models that leave them open.
            n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.
            progress: show a bar (needs tqdm).
            callback: called with a `Progress` before every step; what it raises ends the ascent.

        Returns:
            NumPy arrays; torch tensors if initial, box or a parameter of the prior is one.

        Raises:
            TypeError, ValueError: naming the argument, what was given and what is accepted.
            KeyboardInterrupt: as usual; nothing is returned then.
        """
        targets = [target] if isinstance(target, int | Objective) else list(target)
        problem = self._problem(shape)
        objectives = [_objective(t).resolve(problem.network) for t in targets]
        if not objectives:
            raise ValueError("target is empty; accepted: one or more")
        low, high = _box(box, problem.shape)
        count = (len(objectives), _count(restarts, "restarts"))
        start = _start(initial, count, problem.shape)
        arguments: dict[str, Any] = {
            "steps": _count(steps, "steps"),
            "restarts": count[1],
            "seed": _count(seed, "seed", 0, 2**64),
            "prior": problem.prior,
            "initial": start,
            "noise": _noise(noise, problem.codes, initial),
            "low": low,
            "high": high,
            "update": _update(update, rate, momentum, decay, decay_steps),
            "view": _core.View(
                _count(jitter, "jitter", 0), scaling, blur, _count(blur_steps, "blur_steps")
            ),
            "tolerance": tolerance,
            "patience": 0 if patience is None else _count(patience, "patience"),
            "n_threads": checked_threads(n_threads),
        }
        if problem.codes and (jitter or scaling != 1 or blur):
            raise ValueError("jitter, scaling and blur are for images; x is a code here")
        plans = problem.plans(objectives)
        with _bar(progress, steps) as show:
            found = _core.maximize(plans, progress=_report(callback, show), **arguments)
        torch = any(map(is_tensor, (initial, *(box or ())))) or getattr(
            self.prior, "from_torch", False
        )
        return _prototypes(problem, found, torch, checked_threads(n_threads))

    def _problem(self, shape: tuple[int, ...] | None) -> _Problem:
        declared = self.model.input_shape
        sizes = declared if shape is None else tuple(shape)
        if None in sizes or len(sizes) != len(declared):
            raise ValueError(
                f"the model's input is {declared} and shape {shape}; accepted: shape=, with every "
                "size that the model leaves open"
            )
        fixed = tuple(int(size) for size in sizes if size is not None)
        self.model.sample_shape(np.empty((0, *fixed), np.float32))
        key = (fixed, os.environ.get("RELPROP_ISA", ""))
        return self._problems.get(key, lambda: _Problem(self.model, self.prior, fixed))


class _Problem:
    """A network for one input size, with the prior; in code space, behind the generator."""

    def __init__(
        self, model: Model, prior: Expert | CodeSpace | None, shape: tuple[int, ...]
    ) -> None:
        self.model, self.network = model, model.network(shape)
        self.codes = isinstance(prior, CodeSpace)
        self.image = 0
        if isinstance(prior, CodeSpace):
            joined = join(prior, self.network)
            self.model, self.network = Model(joined.network.core), joined.network
            self.image = joined.image
            prior = L2(prior.lam)
        self.shape = self.network.nodes[0][3]
        self.names: list[str] = []
        self.prior: _core.Prior | None = None
        if prior is not None:
            self.prior = _core.Prior(self.shape)
            self.names = prior.add_to(self.prior)

    def plans(
        self, objectives: Sequence[tuple[int, str, int]]
    ) -> list[tuple[_core.Plan, str, int]]:
        """The objectives with the plans of their nodes."""
        nodes = {node for node, _, _ in objectives}
        plans = {node: self.model.gradient_plan(self.network, node) for node in nodes}
        return [(plans[node], kind, index) for node, kind, index in objectives]

    def pictures(self, codes: FloatArray, n_threads: int) -> FloatArray:
        """The model's inputs that codes stand for."""
        plan = _core.Plan(self.network.core, output=self.image, forward_only=True)
        return plan.forward(codes, n_threads)


def _objective(target: object) -> Objective:
    if isinstance(target, Objective):
        return target
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise TypeError(
            f"target is of type {type(target).__name__}; accepted: ints and rp.objectives"
        )
    return LogProbability(int(target.__index__()))


def _count(value: object, what: str, low: int = 1, high: int = 2**31) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is of type {type(value).__name__}; accepted: an int")
    number = int(value.__index__())
    if not low <= number < high:
        raise ValueError(f"{what} = {number}; accepted: {low} to {high - 1}")
    return number


def _spread(value: object, shape: tuple[int, ...], what: str) -> FloatArray:
    values = real_values(value, what)
    try:
        return np.ascontiguousarray(np.broadcast_to(values, shape))
    except ValueError as error:
        raise ValueError(
            f"{what} has shape {values.shape}; accepted: what broadcasts to {shape}"
        ) from error


def _box(box: object, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    if box is None:
        return None, None
    if not isinstance(box, tuple | list) or len(box) != 2:
        raise TypeError(f"box = {box!r}; accepted: (low, high)")
    low, high = (
        _spread(value, shape, f"box: {n}") for n, value in zip(("low", "high"), box, strict=True)
    )
    return low, high


def _start(initial: object, count: tuple[int, int], shape: tuple[int, ...]) -> FloatArray | None:
    if initial is None:
        return None
    values = real_values(initial, "initial")
    rows = (*count, *shape) if values.ndim == len(shape) + 2 else shape
    return _spread(values, rows, "initial")


def _noise(noise: float | None, codes: bool, initial: Any) -> float:
    if noise is not None:
        return noise
    if initial is not None and np.ndim(initial) > 0:
        return 0.0
    return 1.0 if codes else NOISE


def _update(
    update: object, rate: float | None, momentum: float, decay: float, decay_steps: int
) -> _core.Update:
    if update not in RATES:
        raise ValueError(f"update = {update!r}; accepted: {', '.join(RATES)}")
    name = str(update)
    return _core.Update(
        name,
        rate=RATES[name] if rate is None else rate,
        momentum=momentum,
        decay=decay,
        decay_steps=_count(decay_steps, "decay_steps"),
    )


def _bar(progress: bool, steps: int) -> Any:
    return _progress.steps(steps, "step") if progress else nullcontext()


def _report(
    callback: Callable[[Progress], object] | None, show: Callable[[int], None] | None
) -> Callable[[int, int, int, DoubleArray], None] | None:
    if callback is None and show is None:
        return None

    def report(step: int, steps: int, climbing: int, values: DoubleArray) -> None:
        if show is not None:
            show(step)
        if callback is not None:
            callback(Progress(step, steps, climbing, values))

    return report


def _prototypes(
    problem: _Problem,
    found: tuple[FloatArray, DoubleArray, IntArray, list[str], list[DoubleArray]],
    torch: bool,
    n_threads: int,
) -> Prototypes:
    x, probability, restart, stopped, history = found
    restore: Callable[[Any], Any] = sys.modules["torch"].from_numpy if torch else lambda a: a
    pictures = problem.pictures(x, n_threads) if problem.codes else x
    return Prototypes(
        prototypes=restore(pictures),
        codes=restore(x) if problem.codes else None,
        probability=probability,
        history=_history(history, problem.names),
        restart=restart,
        stopped=stopped,
    )


def _history(history: list[DoubleArray], experts: list[str]) -> dict[str, DoubleArray]:
    """Terms by name, (T, entries), NaN where a row has ended."""
    terms = ["objective", *experts]
    seen = [terms[: k + 1].count(name) for k, name in enumerate(terms)]
    names = [name if n == 1 else f"{name}_{n}" for name, n in zip(terms, seen, strict=True)]
    length = max(len(rows) for rows in history)
    table = np.full((len(history), length, len(names)), np.nan)
    for row, values in zip(table, history, strict=True):
        row[: len(values)] = values
    by_name = {name: table[:, :, k] for k, name in enumerate(names)}
    return by_name | {"total": table.sum(axis=2)}
