"""Zennit's composites by name and argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

from relprop._core import UnsupportedError
from relprop.compat.zennit.layer import Sum
from relprop.compat.zennit.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Hook,
    Norm,
    Pass,
    ZBox,
    ZeroParams,
    ZPlus,
)
from relprop.compat.zennit.types import Activation, AvgPool, BatchNorm, Convolution, Linear

LayerMap = list[tuple[Any, Hook]]
Context = dict[Any, Any]


class Composite:
    """A rule for every module.

    Args:
        module_map: (context, name, module) -> Hook or None; None gives the plain gradient.
        canonizers: accepted and not needed, see `relprop.compat.zennit.canonizers`.
    """

    # An instance of it stands for a sum of branches that a module with children makes itself.
    sum_module: type[torch.nn.Module] = Sum

    def __init__(
        self,
        module_map: Callable[[Context, str, Any], Hook | None] | None = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        self.module_map = module_map or _nothing
        self.canonizers = list(canonizers or ())

    @contextmanager
    def context(self, module: torch.nn.Module) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The module as a function of its input, whose gradient is the relevance."""
        from relprop.compat.zennit.attribution import explained

        yield explained(module, self)

    @contextmanager
    def inactive(self) -> Iterator[Composite]:
        """Nothing: no hook is ever attached."""
        yield self

    def register(self, module: object) -> NoReturn:
        """Refused: relprop attaches nothing to modules."""
        raise UnsupportedError(
            "Composite.register would attach hooks to the module; supported: "
            "Gradient(model, composite) or `with composite.context(model) as explained:`"
        )

    def remove(self) -> None:
        """Nothing: no hook is ever attached."""


class LayerMapComposite(Composite):
    """Hooks by module type; the first entry that fits counts."""

    def __init__(self, layer_map: LayerMap, canonizers: Sequence[Any] | None = None) -> None:
        self.layer_map = layer_map
        super().__init__(self.mapping, canonizers)

    def mapping(self, ctx: Context, name: str, module: Any) -> Hook | None:
        """The hook of a module."""
        return next((hook for types, hook in self.layer_map if isinstance(module, types)), None)


class SpecialFirstLayerMapComposite(LayerMapComposite):
    """As LayerMapComposite, with another map for the first module that fits it."""

    def __init__(
        self, layer_map: LayerMap, first_map: LayerMap, canonizers: Sequence[Any] | None = None
    ) -> None:
        self.first_map = first_map
        super().__init__(layer_map, canonizers)

    def mapping(self, ctx: Context, name: str, module: Any) -> Hook | None:
        """The hook of a module; "first" means first in the order of named_modules."""
        if not ctx.get("first_layer_visited", False):
            for types, hook in self.first_map:
                if isinstance(module, types):
                    ctx["first_layer_visited"] = True
                    return hook
        return super().mapping(ctx, name, module)


class NameMapComposite(Composite):
    """Hooks by module name."""

    def __init__(
        self, name_map: list[tuple[Any, Hook]], canonizers: Sequence[Any] | None = None
    ) -> None:
        self.name_map = name_map
        super().__init__(self.mapping, canonizers)

    def mapping(self, ctx: Context, name: str, module: Any) -> Hook | None:
        """The hook of a module."""
        return next((hook for names, hook in self.name_map if name in names), None)


class MixedComposite(Composite):
    """Several composites; the first that has a hook for a module counts."""

    def __init__(
        self, composites: Sequence[Composite], canonizers: Sequence[Any] | None = None
    ) -> None:
        self.composites = list(composites)
        super().__init__(self.mapping, canonizers)

    def mapping(self, ctx: Context, name: str, module: Any) -> Hook | None:
        """The hook of a module."""
        if not ctx:
            ctx.update({composite: {} for composite in self.composites})
        # Every composite is asked, so that each sees its own first layer.
        hooks = [c.module_map(ctx[c], name, module) for c in self.composites]
        return next((hook for hook in hooks if hook is not None), None)


class NameLayerMapComposite(MixedComposite):
    """By name first, then by type."""

    def __init__(
        self,
        name_map: list[tuple[Any, Hook]] | None = None,
        layer_map: LayerMap | None = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        parts = [NameMapComposite(name_map or []), LayerMapComposite(layer_map or [])]
        super().__init__(parts, canonizers)


def layer_map_base(stabilizer: float = 1e-6) -> LayerMap:
    """What all named composites share: Pass for activations, Norm for sums and average pooling."""
    norm = Norm(stabilizer=stabilizer)
    return [(Activation, Pass()), (Sum, norm), (AvgPool, norm), (BatchNorm, Pass())]


class _Named(SpecialFirstLayerMapComposite):
    """A rule for convolutions, Epsilon for dense layers, and perhaps one for the first layer."""

    def __init__(
        self,
        conv: Hook,
        epsilon: float,
        stabilizer: float,
        layer_map: LayerMap | None,
        zero_params: ZeroParams,
        canonizers: Sequence[Any] | None,
        first_map: LayerMap | None = None,
    ) -> None:
        dense = Epsilon(epsilon=epsilon, zero_params=zero_params)
        rules: LayerMap = [(Convolution, conv), (torch.nn.Linear, dense)]
        whole = [*(layer_map or []), *layer_map_base(stabilizer), *rules]
        super().__init__(whole, first_map or [], canonizers)


class EpsilonPlus(_Named):
    """ZPlus for convolutions, Epsilon for dense layers."""

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        conv = ZPlus(stabilizer=stabilizer, zero_params=zero_params)
        super().__init__(conv, epsilon, stabilizer, layer_map, zero_params, canonizers)


class EpsilonAlpha2Beta1(_Named):
    """AlphaBeta(2, 1) for convolutions, Epsilon for dense layers."""

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        conv = AlphaBeta(2, 1, stabilizer=stabilizer, zero_params=zero_params)
        super().__init__(conv, epsilon, stabilizer, layer_map, zero_params, canonizers)


class EpsilonPlusFlat(_Named):
    """EpsilonPlus with Flat for the first linear layer."""

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        conv = ZPlus(stabilizer=stabilizer, zero_params=zero_params)
        first = [*(first_map or []), (Linear, Flat(stabilizer, zero_params))]
        super().__init__(conv, epsilon, stabilizer, layer_map, zero_params, canonizers, first)


class EpsilonAlpha2Beta1Flat(_Named):
    """EpsilonAlpha2Beta1 with Flat for the first linear layer."""

    def __init__(
        self,
        epsilon: float = 1e-6,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        conv = AlphaBeta(2, 1, stabilizer=stabilizer, zero_params=zero_params)
        first = [*(first_map or []), (Linear, Flat(stabilizer, zero_params))]
        super().__init__(conv, epsilon, stabilizer, layer_map, zero_params, canonizers, first)


class EpsilonGammaBox(_Named):
    """ZBox for the first convolution, Gamma for the others, Epsilon for dense layers."""

    def __init__(
        self,
        low: Any,
        high: Any,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        conv = Gamma(gamma=gamma, stabilizer=stabilizer, zero_params=zero_params)
        box = ZBox(low, high, stabilizer=stabilizer, zero_params=zero_params)
        first = [*(first_map or []), (Convolution, box)]
        super().__init__(conv, epsilon, stabilizer, layer_map, zero_params, canonizers, first)


class ExcitationBackprop(LayerMapComposite):
    """ZPlus for all linear layers, Norm for sums and average pooling."""

    def __init__(
        self,
        stabilizer: float = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Sequence[Any] | None = None,
    ) -> None:
        norm, plus = Norm(stabilizer=stabilizer), ZPlus(stabilizer, zero_params)
        entries = [(Sum, norm), (AvgPool, norm), (Linear, plus)]
        super().__init__([*(layer_map or []), *entries], canonizers)


def _refused(name: str) -> Callable[..., Composite]:
    def refuse(*_: object, **__: object) -> Composite:
        raise UnsupportedError(
            f"{name} changes the gradient of ReLUs, which is no relevance propagation; supported: "
            f"{', '.join(COMPOSITES)}"
        )

    refuse.__name__ = name
    refuse.__doc__ = f"Not supported: refuses {name} by name."
    return refuse


DeconvNet = _refused("DeconvNet")
GuidedBackprop = _refused("GuidedBackprop")
BetaSmooth = _refused("BetaSmooth")

COMPOSITES: dict[str, Callable[..., Composite]] = {
    "epsilon_gamma_box": EpsilonGammaBox,
    "epsilon_plus": EpsilonPlus,
    "epsilon_alpha2_beta1": EpsilonAlpha2Beta1,
    "epsilon_plus_flat": EpsilonPlusFlat,
    "epsilon_alpha2_beta1_flat": EpsilonAlpha2Beta1Flat,
    "excitation_backprop": ExcitationBackprop,
}


def _nothing(ctx: Context, name: str, module: Any) -> Hook | None:
    return None
