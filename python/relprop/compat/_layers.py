"""Kinds of layers, and where an activation without a rule would not have its plain gradient."""

from __future__ import annotations

from typing import Any

import relprop as rp
from relprop._core import UnsupportedError
from relprop.composites import LINEAR
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


def check_activations(network: Network, rules: dict[str, rp.Rule]) -> None:
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
            f"layer '{name}' ({op}) has {'a rule' if name in rules else 'no rule'} and the layer "
            f"in front of it, '{before[0]}', has {'none' if name in rules else 'one'}; supported: "
            "both or none, such as (Activation, Pass()) in a layer map of Zennit"
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
