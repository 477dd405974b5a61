"""The oracle's rules and starts as the public API's, for comparison on whole networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import oracle
import relprop as rp

Array = npt.NDArray[Any]
Assign = oracle.Rule | Callable[[str, str], oracle.Rule]


def public_rule(rule: oracle.Rule) -> rp.Rule:
    more: dict[str, Any] = {"bias": "absorb" if rule.absorb_bias else "ignore"}
    if rule.kind == "epsilon":
        return rp.Epsilon(rule.stabilizer, **more)
    more["stabilizer"] = rule.stabilizer
    makes: dict[str, Callable[[], rp.Rule]] = {
        "z_plus": lambda: rp.ZPlus(**more),
        "alpha_beta": lambda: rp.AlphaBeta(rule.alpha, rule.beta, **more),
        "gamma": lambda: rp.Gamma(rule.gamma, **more),
        "w_square": lambda: rp.WSquare(**more),
        "flat": lambda: rp.Flat(**more),
        "reweighted": lambda: rp.Reweighted(rule.alpha, rule.beta, **more),
        "z_box": lambda: rp.ZBox(rule.low, rule.high, **more),
    }
    return makes[rule.kind]()


def method(model: rp.Model, rule: oracle.Rule | rp.Composite | str) -> rp.LRP | rp.Gradient:
    if rule == oracle.GRADIENT:
        return rp.Gradient(model)
    return rp.LRP(model, public_rule(rule) if isinstance(rule, oracle.Rule) else rule)


def explained_value(y: Array) -> Array:
    """Relevance starts at the largest output of each sample, with its value."""
    flat = y.reshape(len(y), -1)
    chosen = np.arange(flat.shape[1]) == flat.argmax(1)[:, None]
    return np.where(chosen, flat, 0).reshape(y.shape).astype(y.dtype)


def one(y: Array) -> Array:
    """As explained_value, with one."""
    return (explained_value(y) != 0).astype(y.dtype)
