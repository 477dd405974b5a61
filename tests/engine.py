"""Test cases and oracle rules as the engine's objects, where the ISA can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import oracle
from cases import LayerCase
from relprop import _core
from relprop._onnx import load

Array = npt.NDArray[Any]


def engine_rule(rule: oracle.Rule) -> _core.Rule:
    bounds = {}
    if rule.kind == "z_box":
        bounds = {
            "low": np.atleast_1d(np.asarray(rule.low, np.float32)),
            "high": np.atleast_1d(np.asarray(rule.high, np.float32)),
        }
    return _core.Rule(
        rule.kind,
        alpha=rule.alpha,
        beta=rule.beta,
        gamma=rule.gamma,
        stabilizer=rule.stabilizer,
        absorb_bias=rule.absorb_bias,
        **bounds,
    )


NORM = oracle.Rule("norm")

# What stands before and behind a layer decides which kernels the plan takes: it knows that a ReLU
# leaves zeros, and that a clip above 0 leaves none.
FRONTS = {"none": (), "relu": ("relu", 0.0, 0.0), "clip": ("clip", 2.0**-10, 1e30)}
BACKS = {"none": (), "tanh": ("tanh", 0.0, 0.0)}


def add_layer(model: _core.Model, case: LayerCase, at: int, weight: Array, bias: Any) -> int:
    if case.kind == "dense":
        return model.add_dense("layer", at, weight, bias)
    if len(case.size) == 1:
        weight = weight[:, :, None, :]
    add = model.add_conv if case.kind == "conv" else model.add_conv_transpose
    return add("layer", at, weight, bias, **case.geometry)


def layer_plan(
    case: LayerCase,
    weight: Array,
    bias: Array | None,
    rule: oracle.Rule,
    *,
    front: str = "none",
    back: str = "none",
    isa: str = "",
    samples: int = 1,
) -> _core.Plan:
    model = _core.Model(case.input_shape)
    at = model.add_activation("front", 0, *FRONTS[front]) if FRONTS[front] else 0
    at = add_layer(model, case, at, weight, bias)
    if BACKS[back]:
        at = model.add_activation("back", at, *BACKS[back])
    model.add_output("output", at)
    return _core.Plan(model, [engine_rule(rule)] * len(model.nodes), isa=isa, samples=samples)


def spread_plan(
    case: LayerCase,
    weight: Array,
    rule: oracle.Rule,
    relevance: Array,
    *,
    front: str = "none",
    isa: str = "",
) -> _core.Plan:
    """Behind the layer a dense one, whose gradient is that relevance of the layer's whole output.

    From an explained value on, the plan expects relevance of one output only.
    """
    model = _core.Model(case.input_shape)
    at = model.add_activation("front", 0, *FRONTS[front]) if FRONTS[front] else 0
    at = add_layer(model, case, at, weight, None)
    at = model.add_reshape("flat", at, (relevance.size,))
    spread = model.add_dense("spread", at, relevance.reshape(1, -1))
    model.add_output("output", spread)
    rules = [rule] * spread + [oracle.GRADIENT]
    return _core.Plan(model, [engine_rule(one) for one in rules], isa=isa)


def run_plan(plan: _core.Plan, x: Array, start: Array, n_threads: int = 1) -> Array:
    """Relevance at the input for one start per sample."""
    return plan.relevance(x, start=start[:, None], n_threads=n_threads)[0][:, 0]


def network_plan(
    model: Any,
    rules: oracle.Rule | Callable[[str, str], oracle.Rule],
    *,
    isa: str = "",
    output: str | None = None,
    shape: tuple[int, ...] | None = None,
    norm: oracle.Rule = NORM,
) -> tuple[_core.Model, _core.Plan]:
    """The model of an ONNX file, and its plan with the rules given as to the oracle."""
    built = load(model).build(shape, output)
    linear = {"dense": "Dense", "conv": "Conv", "conv_transpose": "ConvTranspose"}
    linear["batch_norm"] = "Affine"
    chosen = []
    for name, op, _, _ in built.nodes:
        if rules == oracle.GRADIENT:
            chosen.append(rules)
        elif op in linear:
            chosen.append(rules if isinstance(rules, oracle.Rule) else rules(name, linear[op]))
        else:
            chosen.append(norm)
    plan = _core.Plan(built, [engine_rule(rule) for rule in chosen], isa=isa)
    return built, plan
