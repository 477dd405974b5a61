"""Which rule goes where: one rule for all layers, or by kind, position and name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, overload

from relprop import _core
from relprop._cache import Once
from relprop.rules import (
    AlphaBeta,
    Bias,
    Epsilon,
    Flat,
    Gamma,
    Norm,
    Pass,
    Rule,
    ZBox,
    ZPlus,
    to_core,
)

__all__ = [
    "Composite",
    "alpha1_beta0",
    "alpha2_beta1",
    "alpha3_beta2",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "epsilon_plus",
    "epsilon_plus_flat",
]

CONVOLUTIONS = frozenset({"conv", "conv_transpose"})
LINEAR = CONVOLUTIONS | {"dense"}
SUMS = frozenset({"add", "average_pool", "adaptive_average_pool", "resample"})

# (name, op, inputs, shape per sample) of a layer, as in _core.Model.nodes.
Node = tuple[str, str, list[int], tuple[int, ...]]


@dataclass(frozen=True)
class Composite:
    """A rule for every layer of a network. What is left out falls back to Epsilon().

    A layer takes the first of these that fits: `names`, `first` and `first_conv`, `last`, its kind.
    Activations always pass relevance on; max pooling always gives it to the winner.

    Args:
        first: the first linear layer (dense, convolution or transposed convolution).
        last: the last linear layer.
        conv: convolutions and transposed convolutions, and batch norms of images or signals that
            could not be folded into a neighbour.
        dense: dense layers, and such batch norms of vectors.
        names: by layer name. "fire9" stands for the layer of this name and for all whose name
            continues it behind "/" or "."; the longest name that fits a layer counts.
        norm: average pooling, residual sums and resizing.
        first_conv: the first convolution, even where a dense layer stands in front of it.
        layer_norm: Norm takes the standard deviation as a constant and the rest as linear (Ali et
            al. 2022), Pass takes the whole layer as a constant factor (Achtibat et al. 2024);
            default: as `norm`.
        gate: for products of two values of which one is a gate, as in squeeze-and-excitation
            blocks: "constant" leaves all relevance to the other one (Arras et al. 2017), "split"
            gives each half (Achtibat et al. 2024). Where neither is a gate each gets half.

    Raises:
        TypeError: what should be a rule is something else.
        ValueError: gate is neither "constant" nor "split".
    """

    first: Rule | None = None
    last: Rule | None = None
    conv: Rule | None = None
    dense: Rule | None = None
    names: Mapping[str, Rule] = field(default_factory=dict, hash=False)
    norm: Norm = field(default_factory=Norm, kw_only=True)
    first_conv: Rule | None = field(default=None, kw_only=True)
    layer_norm: Norm | Pass | None = field(default=None, kw_only=True)
    gate: Literal["constant", "split"] = field(default="constant", kw_only=True)

    def __post_init__(self) -> None:
        names: object = self.names
        if not isinstance(names, Mapping):
            kind = type(names).__name__
            raise TypeError(f"Composite: names is a {kind}; accepted: a mapping from name to rule")
        object.__setattr__(self, "names", dict(self.names))
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in ("names", "gate") and value is not None:
                check_rule(value, f"Composite: {f.name}")
        for name, rule in self.names.items():
            check_rule(rule, f"Composite: names[{name!r}]")
        if not isinstance(self.norm, Norm):
            raise TypeError(f"Composite: norm is {self.norm!r}; accepted: Norm(...)")
        if not isinstance(self.layer_norm, Norm | Pass | None):
            raise TypeError(
                f"Composite: layer_norm is {self.layer_norm!r}; accepted: Norm(...) or Pass(...)"
            )
        if self.gate not in ("constant", "split"):
            raise ValueError(f"Composite: gate is {self.gate!r}; accepted: 'constant' and 'split'")

    @cached_property
    def _unnamed(self) -> Once:
        return Once(tuple(getattr(self, f.name) for f in fields(self) if f.name != "names"))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal composites, and never changing."""
        return (self._unnamed, *sorted(self.names.items(), key=lambda item: item[0]))


@dataclass(frozen=True)
class LayerRules:
    """A rule for each layer by its exact name; layers without one have the plain gradient.

    What front ends of other libraries make, which know the rule of every module.
    """

    rules: Mapping[str, Rule] = field(hash=False)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal rules, and never changing."""
        return ("layers", *sorted(self.rules.items(), key=lambda item: item[0]))


def check_rule(value: object, what: str) -> None:
    """Raises TypeError, which names `what`, unless value is a rule."""
    if isinstance(value, type) and issubclass(value, Rule):
        raise TypeError(f"{what} is the class {value.__name__}; accepted: {value.__name__}(...)")
    if not isinstance(value, Rule):
        raise TypeError(f"{what} is {value!r}; accepted: a rule such as Epsilon()")


def uniform(rule: Rule) -> Composite:
    """One rule for every linear layer."""
    return Composite(conv=rule, dense=rule)


def _alpha_beta(alpha: float, beta: float, stabilizer: float, bias: Bias) -> Composite:
    rule = AlphaBeta(alpha, beta, stabilizer=stabilizer, bias=bias)
    return Composite(conv=rule, dense=rule, norm=Norm(stabilizer=stabilizer))


def alpha1_beta0(*, stabilizer: float = 1e-6, bias: Bias = "absorb") -> Composite:
    """AlphaBeta(1, 0) for every linear layer: evidence in favour only."""
    return _alpha_beta(1, 0, stabilizer, bias)


def alpha2_beta1(*, stabilizer: float = 1e-6, bias: Bias = "absorb") -> Composite:
    """AlphaBeta(2, 1) for every linear layer."""
    return _alpha_beta(2, 1, stabilizer, bias)


def alpha3_beta2(*, stabilizer: float = 1e-6, bias: Bias = "absorb") -> Composite:
    """AlphaBeta(3, 2) for every linear layer."""
    return _alpha_beta(3, 2, stabilizer, bias)


def epsilon_plus(
    *, epsilon: float = 1e-6, stabilizer: float = 1e-6, bias: Bias = "absorb"
) -> Composite:
    """ZPlus for convolutions, Epsilon for dense layers."""
    return Composite(
        conv=ZPlus(stabilizer=stabilizer, bias=bias),
        dense=Epsilon(epsilon, bias=bias),
        norm=Norm(stabilizer=stabilizer),
    )


def epsilon_plus_flat(
    *, epsilon: float = 1e-6, stabilizer: float = 1e-6, bias: Bias = "absorb"
) -> Composite:
    """epsilon_plus with Flat for the first linear layer."""
    return Composite(
        first=Flat(stabilizer=stabilizer, bias=bias),
        conv=ZPlus(stabilizer=stabilizer, bias=bias),
        dense=Epsilon(epsilon, bias=bias),
        norm=Norm(stabilizer=stabilizer),
    )


def epsilon_alpha2_beta1(
    *, epsilon: float = 1e-6, stabilizer: float = 1e-6, bias: Bias = "absorb"
) -> Composite:
    """AlphaBeta(2, 1) for convolutions, Epsilon for dense layers."""
    return Composite(
        conv=AlphaBeta(2, 1, stabilizer=stabilizer, bias=bias),
        dense=Epsilon(epsilon, bias=bias),
        norm=Norm(stabilizer=stabilizer),
    )


def epsilon_alpha2_beta1_flat(
    *, epsilon: float = 1e-6, stabilizer: float = 1e-6, bias: Bias = "absorb"
) -> Composite:
    """epsilon_alpha2_beta1 with Flat for the first linear layer."""
    return Composite(
        first=Flat(stabilizer=stabilizer, bias=bias),
        conv=AlphaBeta(2, 1, stabilizer=stabilizer, bias=bias),
        dense=Epsilon(epsilon, bias=bias),
        norm=Norm(stabilizer=stabilizer),
    )


def epsilon_gamma_box(
    low: Any,
    high: Any,
    *,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    stabilizer: float = 1e-6,
    bias: Bias = "absorb",
) -> Composite:
    """ZBox for the first convolution, Gamma for the others, Epsilon for dense layers.

    Args:
        low, high: the smallest and largest value that the input can have, as for ZBox.
    """
    return Composite(
        first_conv=ZBox(low, high, stabilizer=stabilizer, bias=bias),
        conv=Gamma(gamma, stabilizer=stabilizer, bias=bias),
        dense=Epsilon(epsilon, bias=bias),
        norm=Norm(stabilizer=stabilizer),
    )


# Composites that need no arguments, by name.
NAMED: dict[str, Callable[[], Composite]] = {
    composite.__name__: composite  # type: ignore[attr-defined,unused-ignore]
    for composite in (
        alpha1_beta0,
        alpha2_beta1,
        alpha3_beta2,
        epsilon_plus,
        epsilon_plus_flat,
        epsilon_alpha2_beta1,
        epsilon_alpha2_beta1_flat,
    )
}


@overload
def as_composite(rule: LayerRules) -> LayerRules: ...
@overload
def as_composite(rule: Rule | Composite | str) -> Composite: ...
def as_composite(rule: Rule | Composite | LayerRules | str) -> Composite | LayerRules:
    """The composite that a rule, a composite or a composite's name stands for.

    Raises:
        ValueError: an unknown name, or one whose composite needs arguments.
        TypeError: something else.
    """
    if isinstance(rule, Composite | LayerRules):
        return rule
    if not isinstance(rule, str):
        check_rule(rule, "rule")
        return uniform(rule)
    if rule == epsilon_gamma_box.__name__:
        raise ValueError(
            f"composite '{rule}' needs the bounds of the input: "
            f"relprop.composites.{rule}(low, high)"
        )
    if rule not in NAMED:
        raise ValueError(f"no composite is called '{rule}'; {_near(rule, NAMED)}")
    return NAMED[rule]()


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4)
    return f"near names: {', '.join(map(repr, near or names[:5]))}"


@dataclass(frozen=True)
class Assignment:
    """One rule per node, and for each entry of `names` the nodes that take it."""

    rules: list[_core.Rule]
    named: dict[str, list[int]]


def assign(composite: Composite | LayerRules, nodes: Sequence[Node], output: int) -> Assignment:
    """The rules of a network whose node `output` is explained.

    Raises:
        ValueError: a name that fits no layer, or none that the rule can apply to.
    """
    if isinstance(composite, LayerRules):
        given = [composite.rules.get(name) for name, _, _, _ in nodes]
        return Assignment(_to_core(given, nodes), {})
    used = upstream(nodes, output)
    chosen: list[Rule | None] = [
        _rule_of_kind(composite, op, len(shape)) for _, op, _, shape in nodes
    ]
    for index, rule in _by_position(composite, nodes, used):
        chosen[index] = rule
    named = _by_name(composite, nodes, used)
    # Shorter names first, so that the longest that fits has the last word.
    for name in sorted(named, key=len):
        for index in named[name]:
            chosen[index] = composite.names[name]
    return Assignment(_to_core(chosen, nodes), named)


def _to_core(rules: Sequence[Rule | None], nodes: Sequence[Node]) -> list[_core.Rule]:
    """The engine's rules; None is the plain gradient."""
    return [
        _core.Rule("gradient")
        if rule is None
        else to_core(rule, nodes[inputs[0]][3] if inputs else shape, name)
        for rule, (name, _, inputs, shape) in zip(rules, nodes, strict=True)
    ]


def upstream(nodes: Sequence[Node], output: int) -> list[int]:
    """The nodes that node `output` depends on, itself included, in order."""
    needed = {output}
    for index in range(output, -1, -1):
        if index in needed:
            needed.update(nodes[index][2])
    return sorted(needed)


def _rule_of_kind(composite: Composite, op: str, rank: int) -> Rule:
    if op in SUMS:
        return composite.norm
    if op == "layer_norm":
        return composite.layer_norm or composite.norm
    if op == "product":
        return Pass() if composite.gate == "constant" else Norm()
    if op in CONVOLUTIONS or (op == "batch_norm" and rank > 1):
        return composite.conv or Epsilon()
    if op in LINEAR or op == "batch_norm":
        return composite.dense or Epsilon()
    return Pass()


def _by_position(
    composite: Composite, nodes: Sequence[Node], used: list[int]
) -> Iterable[tuple[int, Rule]]:
    linear = [index for index in used if nodes[index][1] in LINEAR]
    convolutions = [index for index in linear if nodes[index][1] in CONVOLUTIONS]
    if linear and composite.last is not None:
        yield linear[-1], composite.last
    if linear and composite.first is not None:
        yield linear[0], composite.first
    if convolutions and composite.first_conv is not None:
        yield convolutions[0], composite.first_conv


def _by_name(composite: Composite, nodes: Sequence[Node], used: list[int]) -> dict[str, list[int]]:
    named: dict[str, list[int]] = {}
    for name, rule in composite.names.items():
        fits = [index for index in used if _fits(name, nodes[index][0])]
        if not fits:
            near = _near(name, [nodes[index][0] for index in used[1:]])
            raise ValueError(f"names: no layer is called '{name}'; {near}")
        named[name] = [index for index in fits if _takes(nodes[index][1], rule)]
        if not named[name]:
            layers = ", ".join(f"'{nodes[i][0]}' ({nodes[i][1]})" for i in fits[:3])
            raise ValueError(
                f"names: '{name}' fits {layers}, which {type(rule).__name__} does not apply to; "
                f"accepted: {', '.join(sorted(LINEAR))}, batch_norm, "
                f"with Norm {', '.join(sorted(SUMS))}, with Norm or Pass layer_norm"
            )
    return named


def _fits(name: str, layer: str) -> bool:
    """Exactly, or as leading part up to a separator; ONNX exports have a leading slash."""
    name, layer = name.strip("/"), layer.strip("/")
    return layer == name or (bool(name) and layer.startswith(tuple(name + end for end in "/.#")))


def _takes(op: str, rule: Rule) -> bool:
    if op == "layer_norm":
        return isinstance(rule, Norm | Pass)
    return op in LINEAR or op == "batch_norm" or (op in SUMS and isinstance(rule, Norm))
