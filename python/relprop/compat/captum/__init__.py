"""Captum's interface on relprop's engine: ``from relprop.compat.captum import LRP``.

Definitions are Captum's where they differ from relprop's: ε = 1e-9, the γ rule of 2019, α1β0 that
does not look at the signs of inputs, batch norm under the ε rule.
"""

from relprop.compat.captum.gradients import (
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from relprop.compat.captum.lrp import LRP, LayerLRP
from relprop.compat.captum.rules import (
    Alpha1_Beta0_Rule,
    EpsilonRule,
    GammaRule,
    IdentityRule,
    PropagationRule,
)

__all__ = [
    "LRP",
    "Alpha1_Beta0_Rule",
    "EpsilonRule",
    "GammaRule",
    "IdentityRule",
    "InputXGradient",
    "IntegratedGradients",
    "LayerLRP",
    "NoiseTunnel",
    "PropagationRule",
    "Saliency",
]
