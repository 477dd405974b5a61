"""From a composite, which knows modules, to a rule for each layer of the engine's network."""

from __future__ import annotations

from typing import Any

import torch

import relprop as rp
from relprop._core import UnsupportedError
from relprop.compat._modules import owner
from relprop.compat.zennit.composites import Composite, Context
from relprop.compat.zennit.rules import Hook
from relprop.composites import LINEAR, SUMS, LayerRules
from relprop.model import Network

# Activations that the engine may run inside the linear layer in front of them.
RIDING = frozenset({"relu", "leaky_relu", "clip"})
ACTIVATIONS = RIDING | {
    "elu", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "softplus",
    "mish",
}  # fmt: skip
# Under these an input of zero has no relevance, so that a ReLU's derivative changes nothing.
PROPORTIONAL = (rp.Epsilon, rp.ZPlus, rp.AlphaBeta, rp.Gamma, rp.Norm)
MOVES = frozenset({"reshape", "gather", "concat", "identity", "pad", "max_pool", "global_max_pool"})


def resolve(composite: Composite, module: torch.nn.Module, network: Network) -> LayerRules:
    """The rules that Zennit would hook, after its canonizers, for a network made from the module.

    As with Zennit, modules without a hook and operators in functional form have the plain gradient;
    sums of branches have the hook of `Sum`, as behind its canonizers.

    Raises:
        UnsupportedError: a hook that relprop cannot give its layer.
    """
    modules = dict(module.named_modules())
    ctx: Context = {}
    hooks = {name: composite.module_map(ctx, name, child) for name, child in modules.items()}
    for name, hook in hooks.items():
        if hook is not None and any(True for _ in modules[name].children()):
            raise UnsupportedError(
                f"module '{name}' ({type(modules[name]).__name__}) has submodules and a hook; "
                "supported: hooks of modules without submodules"
            )
    by_module = {modules[name]: hook for name, hook in hooks.items()}
    rules: dict[str, rp.Rule] = {}
    for name, op, _, _ in network.nodes[1:]:
        source = owner(name, modules)
        if source is not None:
            hook = by_module[source]
        else:
            hook = composite.module_map(ctx, name, composite.sum_module() if op == "add" else None)
        rule = _rule(name, op, hook)
        if rule is not None:
            rules[name] = rule
    _check_activations(network, rules)
    return LayerRules(rules)


def _rule(name: str, op: str, hook: Hook | None) -> rp.Rule | None:
    """The hook's rule if it fits the layer's kind."""
    if hook is None or op in MOVES - {"max_pool", "global_max_pool"}:
        return None
    if not isinstance(hook, Hook):
        raise UnsupportedError(
            f"layer '{name}': a hook of type {type(hook).__name__}; supported: hooks of "
            "relprop.compat.zennit.rules, or accelerate(composite)"
        )
    rule = hook.rule
    if op in SUMS:
        fits = isinstance(rule, rp.Norm | rp.Epsilon)
        if isinstance(rule, rp.Epsilon):
            return rp.Norm(stabilizer=rule.epsilon)
    elif op in LINEAR:
        fits = not isinstance(rule, rp.Norm)
    elif op == "batch_norm":
        fits = True
    else:
        fits = op in ACTIVATIONS and isinstance(rule, rp.Pass)
    if not fits:
        raise UnsupportedError(
            f"layer '{name}' ({op}): hook {type(hook).__name__}; supported: Pass for activations, "
            "Norm and Epsilon for sums and average pooling, none for the rest, and any but Norm "
            "for dense layers and convolutions"
        )
    return rule


def _check_activations(network: Network, rules: dict[str, rp.Rule]) -> None:
    """Refuses the plain gradient of an activation that shares the pass of its linear layer.

    The engine takes such an activation as Pass where the layer has a rule. For a ReLU that is the
    same wherever its zeros have no relevance.
    """
    nodes = network.nodes
    readers: list[list[int]] = [[] for _ in nodes]
    for index, (_, _, inputs, _) in enumerate(nodes):
        for source in inputs:
            readers[source].append(index)
    for index, (name, op, inputs, _) in enumerate(nodes):
        if op not in RIDING:
            continue
        before = nodes[inputs[0]]
        if before[1] == "batch_norm" and nodes[before[2][0]][1] in LINEAR:
            before = nodes[before[2][0]]
        if before[1] not in LINEAR | {"batch_norm"}:
            continue
        if (before[0] in rules) == (name in rules):
            continue
        if op == "relu" and _no_relevance_at_zero(network, rules, readers, index):
            continue
        raise UnsupportedError(
            f"layer '{name}' ({op}) has {'a hook' if name in rules else 'no hook'} and the layer "
            f"in front of it, '{before[0]}', has {'none' if name in rules else 'one'}; supported: "
            "both or none, such as (Activation, Pass()) in the layer map"
        )


def _no_relevance_at_zero(
    network: Network, rules: dict[str, Any], readers: list[list[int]], index: int
) -> bool:
    """Whether zeros at the output of this layer surely have relevance zero."""
    if index == network.output:
        return False
    for reader in readers[index]:
        name, op, _, _ = network.nodes[reader]
        if op in MOVES or op == "relu":
            if not _no_relevance_at_zero(network, rules, readers, reader):
                return False
        elif not isinstance(rules.get(name), PROPORTIONAL):
            return False
    return True
