"""Zennit's canonizers, which relprop does not need: accepted, and nothing is done.

Batch norm is always merged into the linear layer beside it and residual sums are layers of their
own, whatever the architecture. The module is never changed.
"""

from __future__ import annotations


class Canonizer:
    """Accepts any arguments."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


class MergeBatchNorm(Canonizer):
    """Not needed: batch norm is always merged."""


class SequentialMergeBatchNorm(MergeBatchNorm):
    """Not needed: batch norm is always merged."""


class NamedMergeBatchNorm(MergeBatchNorm):
    """Not needed: batch norm is always merged."""


class AttributeCanonizer(Canonizer):
    """Not needed: sums in functional form are layers."""


class CompositeCanonizer(Canonizer):
    """Not needed."""
