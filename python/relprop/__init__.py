"""Fast explanation and interpretation of trained neural networks.

Example::

    import relprop as rp

    model = rp.from_onnx("squeezenet.onnx")
    R = rp.LRP(model, rp.AlphaBeta(2, 1)).attribute(x, target=3)
"""

from relprop import (
    composites,
    evaluate,
    experts,
    functional,
    images,
    objectives,
    plot,
    zoo,
)
from relprop._core import UnsupportedError, __version__
from relprop._info import info
from relprop.code_space import CodeSpace
from relprop.composites import Composite
from relprop.conservation import Conservation, LayerConservation
from relprop.maximization import ActivationMaximization, Prototypes
from relprop.methods import LRP, Gradient, GradientTimesInput, Sensitivity
from relprop.model import Model, from_onnx, from_torch
from relprop.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Norm,
    Pass,
    Reweighted,
    Rule,
    WSquare,
    ZBox,
    ZPlus,
)

__all__ = [
    "LRP",
    "ActivationMaximization",
    "AlphaBeta",
    "CodeSpace",
    "Composite",
    "Conservation",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gradient",
    "GradientTimesInput",
    "LayerConservation",
    "Model",
    "Norm",
    "Pass",
    "Prototypes",
    "Reweighted",
    "Rule",
    "Sensitivity",
    "UnsupportedError",
    "WSquare",
    "ZBox",
    "ZPlus",
    "__version__",
    "composites",
    "evaluate",
    "experts",
    "from_onnx",
    "from_torch",
    "functional",
    "images",
    "info",
    "objectives",
    "plot",
    "zoo",
]
