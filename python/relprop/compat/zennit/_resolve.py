"""From a composite, which knows modules, to a rule for each layer of the engine's network."""

from __future__ import annotations

import torch

import relprop as rp
from relprop._core import UnsupportedError
from relprop.compat._layers import ACTIVATIONS, MOVES
from relprop.compat._modules import owner
from relprop.compat.zennit.composites import Composite, Context
from relprop.compat.zennit.rules import Hook
from relprop.composites import LINEAR, SUMS, LayerRules
from relprop.model import Network


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
