"""Captum's propagation rules, which are assigned to modules: ``module.rule = GammaRule()``."""

from __future__ import annotations

from typing import Any

import relprop as rp
from relprop._core import UnsupportedError

EPSILON = 1e-9


class PropagationRule:
    """What the rules share. Captum's own objects are taken as well, by their classes' names."""

    STABILITY_FACTOR = EPSILON


class EpsilonRule(PropagationRule):
    """R_i = x ⊙ Wᵀ[R / st(Wx + b)]."""

    def __init__(self, epsilon: float = EPSILON) -> None:
        self.STABILITY_FACTOR = epsilon


class GammaRule(PropagationRule):
    """As EpsilonRule with the weights W + γ W⁺, whatever the signs of x are."""

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma = gamma
        self.set_bias_to_zero = set_bias_to_zero


class Alpha1_Beta0_Rule(PropagationRule):
    """As EpsilonRule with the weights W⁺, whatever the signs of x are."""

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero


class IdentityRule(EpsilonRule):
    """R_i = R."""


def as_rule(rule: Any, name: str) -> rp.Rule:
    """The rule of relprop that Captum's stands for on a layer with weights.

    Raises:
        TypeError: no rule of Captum.
        UnsupportedError: a class of the user's own.
    """
    kinds = [base.__name__ for base in type(rule).__mro__]
    if "PropagationRule" not in kinds:
        raise TypeError(
            f"module '{name}': rule is of type {kinds[0]}; accepted: EpsilonRule, GammaRule, "
            "Alpha1_Beta0_Rule, IdentityRule"
        )
    epsilon = float(rule.STABILITY_FACTOR)
    if kinds[0] == "EpsilonRule":
        return rp.Epsilon(epsilon)
    if kinds[0] == "IdentityRule":
        return rp.Pass()
    if kinds[0] not in ("GammaRule", "Alpha1_Beta0_Rule"):
        raise UnsupportedError(
            f"module '{name}': rule {kinds[0]}; supported: EpsilonRule, GammaRule, "
            "Alpha1_Beta0_Rule, IdentityRule"
        )
    bias: rp.rules.Bias = "ignore" if rule.set_bias_to_zero else "absorb"
    gamma = kinds[0] == "GammaRule"
    weights = (1 + float(rule.gamma), 1.0) if gamma else (1.0, 0.0)
    return rp.Reweighted(*weights, stabilizer=epsilon, bias=bias)
