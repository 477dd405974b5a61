"""Zennit's interface on relprop's engine.

Modules have Zennit's names: ``from relprop.compat.zennit.attribution import Gradient``. A composite
that was made with Zennit itself works as well, as it is or through `accelerate`.

Differences: canonizers are accepted and not needed, as batch norm is always merged and sums of
branches are layers; nothing is hooked or swapped in the module, so that it may be used meanwhile;
outputs and relevance are detached; stabilizers are numbers.
"""

from relprop.compat.zennit import (
    attribution,
    canonizers,
    composites,
    layer,
    rules,
    torchvision,
    types,
)
from relprop.compat.zennit._accelerate import accelerate

__all__ = [
    "accelerate",
    "attribution",
    "canonizers",
    "composites",
    "layer",
    "rules",
    "torchvision",
    "types",
]
