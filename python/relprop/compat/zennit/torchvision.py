"""Zennit's canonizers for the networks of torchvision, which relprop does not need."""

from __future__ import annotations

from relprop.compat.zennit.canonizers import (
    AttributeCanonizer,
    CompositeCanonizer,
    SequentialMergeBatchNorm,
)


class VGGCanonizer(SequentialMergeBatchNorm):
    """Not needed: batch norm is always merged."""


class ResNetBottleneckCanonizer(AttributeCanonizer):
    """Not needed: residual sums are layers."""


class ResNetBasicBlockCanonizer(AttributeCanonizer):
    """Not needed: residual sums are layers."""


class ResNetCanonizer(CompositeCanonizer):
    """Not needed: batch norm is always merged and residual sums are layers."""
