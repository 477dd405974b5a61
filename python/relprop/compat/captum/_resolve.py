"""From rules on modules to a rule for each layer of the engine's network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

import relprop as rp
from relprop._core import UnsupportedError
from relprop.compat._layers import ACTIVATIONS, MOVES
from relprop.compat._modules import compiled, fingerprint, network_of, owner
from relprop.compat.captum.rules import EPSILON, as_rule
from relprop.composites import LINEAR, SUMS, LayerRules
from relprop.model import Network

# A module whose batch norms are convolutions, by the module it was made from, with its weights.
_UNMERGED: WeakKeyDictionary[torch.nn.Module, tuple[Any, torch.nn.Module]] = WeakKeyDictionary()


def explain(
    module: torch.nn.Module, x: torch.Tensor, keep_batch_norm: bool = False
) -> tuple[rp.LRP, Network, Mapping[str, rp.Rule]]:
    """The method that explains x by the rules on the submodules, its network, rules by layer.

    Under ε rules with a tiny ε a batch norm may be merged into the layer in front of it; otherwise,
    or where the relevance between both is wanted, it is a layer of its own.

    Raises:
        TypeError, UnsupportedError: a rule that is none, or that its layer cannot have.
    """
    rules = _rules_by_path(module)
    tiny = all(isinstance(r, rp.Epsilon) and r.epsilon <= EPSILON for r in rules.values())
    source = module if tiny and not keep_batch_norm else _without_batch_norm(module)
    model = compiled(source, x)
    network = network_of(model, x)
    chosen = _layer_rules(network, module, rules)
    return rp.LRP(model, chosen), network, chosen.rules


def _rules_by_path(module: torch.nn.Module) -> dict[str, rp.Rule]:
    found = {}
    for name, child in module.named_modules():
        rule = getattr(child, "rule", None)
        if rule is None:
            continue
        if any(True for _ in child.children()):
            raise UnsupportedError(
                f"module '{name}' ({type(child).__name__}) has submodules and a rule; supported: "
                "rules of modules without submodules"
            )
        found[name] = as_rule(rule, name)
        if isinstance(child, torch.nn.BatchNorm2d) and isinstance(found[name], rp.Reweighted):
            raise UnsupportedError(
                f"module '{name}' (BatchNorm2d): rule {type(rule).__name__}; supported: "
                "EpsilonRule, IdentityRule"
            )
    return found


def _layer_rules(
    network: Network, module: torch.nn.Module, by_path: dict[str, rp.Rule]
) -> LayerRules:
    modules = dict(module.named_modules())
    paths = {child: name for name, child in modules.items()}
    chosen: dict[str, rp.Rule] = {}
    for name, op, _, _ in network.nodes[1:]:
        source = owner(name, modules)
        given = None if source is None else by_path.get(paths[source])
        rule = _rule(name, op, given, functional=source is None)
        if rule is not None:
            chosen[name] = rule
    return LayerRules(chosen)


def _rule(name: str, op: str, given: rp.Rule | None, functional: bool) -> rp.Rule | None:
    """The layer's rule; None is the plain gradient, which operators in functional form have."""
    if op in ACTIVATIONS:
        if given is not None and not isinstance(given, rp.Pass):
            raise _unfit(name, op, "IdentityRule")
        return None if functional else rp.Pass()
    if op in ("max_pool", "global_max_pool"):
        if isinstance(given, rp.Pass) or (given is not None and _epsilon(given) > EPSILON):
            raise _unfit(name, op, f"EpsilonRule with at most {EPSILON}")
        return None
    if op in MOVES:
        return None
    if op in SUMS and (op == "add" or not functional):
        if isinstance(given, rp.Pass):
            raise _unfit(name, op, "EpsilonRule")
        return rp.Norm(stabilizer=EPSILON if given is None else _epsilon(given))
    if op in LINEAR or op == "batch_norm":
        return given or (None if functional else rp.Epsilon(EPSILON))
    if given is not None:
        raise _unfit(name, op, "none")
    return None


def _epsilon(rule: rp.Rule) -> float:
    """Without weights the other rules are the ε rule."""
    return float(rule.epsilon if isinstance(rule, rp.Epsilon) else rule.stabilizer)  # type: ignore[attr-defined]


def _unfit(name: str, op: str, accepted: str) -> UnsupportedError:
    return UnsupportedError(
        f"layer '{name}' ({op}) has a rule of another kind; supported: {accepted}"
    )


def _without_batch_norm(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares the weights, with depthwise 1x1 convolutions for batch norms."""
    weights = fingerprint(module)
    known = _UNMERGED.get(module)
    if known is not None and known[0] == weights:
        return known[1]
    shared: dict[int, Any] = {id(p): p for p in [*module.parameters(), *module.buffers()]}
    twin = copy.deepcopy(module, shared)
    for name, child in list(twin.named_modules()):
        if isinstance(child, torch.nn.BatchNorm2d):
            parent, _, attribute = name.rpartition(".")
            setattr(twin.get_submodule(parent), attribute, _as_convolution(child))
    _UNMERGED[module] = (weights, twin)
    return twin


def _as_convolution(norm: torch.nn.BatchNorm2d) -> torch.nn.Conv2d:
    if norm.running_mean is None or norm.running_var is None:
        raise UnsupportedError(
            "BatchNorm2d without running statistics; supported: track_running_stats=True"
        )
    channels = norm.num_features
    scale = 1 / torch.sqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    conv = torch.nn.Conv2d(channels, channels, 1, groups=channels)
    conv.weight = torch.nn.Parameter(scale.float().detach().reshape(-1, 1, 1, 1))
    conv.bias = torch.nn.Parameter(shift.float().detach())
    return conv.eval()
