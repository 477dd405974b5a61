"""Captum's LRP and LayerLRP."""

from __future__ import annotations

from typing import Any

import torch

from relprop._core import UnsupportedError
from relprop.compat._modules import path_of
from relprop.compat.captum._arguments import (
    Tensor,
    formatted,
    resolved_target,
    selected,
    single_input,
)
from relprop.compat.captum._resolve import explain


class LRP:
    """Layer-wise relevance propagation with Captum's definitions.

    Args:
        model: a torch module in evaluation mode with one input, which returns logits. Rules are
            attributes of its submodules (``model.conv1.rule = GammaRule()``), Captum's or those of
            `relprop.compat.captum`; layers without one have EpsilonRule(). They are left in place.

    Unlike Captum: any layer that relprop knows is taken; sums of branches, written as + or as a
    module, have the ε rule; a module may be used twice; nothing is swapped in the module.
    """

    multiplies_by_inputs = True

    def __init__(self, model: torch.nn.Module) -> None:
        if not isinstance(model, torch.nn.Module):
            kind = type(model).__name__
            raise TypeError(f"model is of type {kind}; accepted: a torch.nn.Module")
        self.model = model

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """The relevance of the inputs, which starts at the target's output.

        Args:
            inputs: float32 CPU tensor (N, ...), or a tuple of one.
            target: an int, one per example, or positions where outputs are maps; None where there
                is one output per example.
            additional_forward_args: only None.
            return_convergence_delta: also return output - Σ R, (N,).
            verbose: print the rule of each layer.

        Returns:
            A tensor of the inputs' shape, in a tuple if the inputs were; with the delta a pair.

        Raises:
            TypeError, ValueError: an argument of another kind.
            UnsupportedError: a layer or rule that relprop does not have.
        """
        x, in_tuple = single_input(inputs, additional_forward_args)
        method, network, rules = explain(self.model, x)
        if verbose:
            _print_rules(rules)
        where = resolved_target(target, network, len(x))
        relevance, output = method.attribute(x, where, return_output=True)
        result = formatted(relevance, in_tuple)
        if not return_convergence_delta:
            return result
        return result, selected(output, where) - _sums(relevance)

    def has_convergence_delta(self) -> bool:
        """True."""
        return True


class LayerLRP(LRP):
    """The relevance at the output or the input of layers.

    Args:
        model: as for `LRP`.
        layer: a submodule, or a list of them.
    """

    def __init__(self, model: torch.nn.Module, layer: Any) -> None:
        super().__init__(model)
        self.layer = layer

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        """The relevance at the layer, of the shape of its output (or input); a list for a list.

        Arguments, the delta and exceptions are those of `LRP.attribute`.
        """
        x, _ = single_input(inputs, additional_forward_args)
        layers = self.layer if isinstance(self.layer, list) else [self.layer]
        modules = dict(self.model.named_modules())
        paths = [path_of(layer, modules, "layer") for layer in layers]
        method, network, rules = explain(self.model, x, keep_batch_norm=True)
        if verbose:
            _print_rules(rules)
        where = resolved_target(target, network, len(x))
        names = [_layer_name(network.nodes, path, attribute_to_layer_input) for path in paths]
        inner = [name for name in names if name != network.nodes[0][0]]
        relevance, output, found = method.attribute(
            x, where, return_output=True, return_layers=inner
        )
        results = [found.get(name, relevance) for name in names]
        f = selected(output, where)
        deltas = [f - _sums(result) for result in results]
        one = not isinstance(self.layer, list)
        if not return_convergence_delta:
            return results[0] if one else results
        return (results[0], deltas[0]) if one else (results, deltas)


def _layer_name(nodes: Any, path: str, at_input: bool) -> str:
    """The layer whose output has the wanted relevance."""
    index = next((i for i, (name, *_) in enumerate(nodes) if name == path), None)
    if index is None:
        raise UnsupportedError(
            f"layer '{path}' is not one layer of the network; supported: a module without "
            "submodules that the output depends on"
        )
    if not at_input:
        return str(nodes[index][0])
    if len(nodes[index][2]) != 1:
        raise UnsupportedError(
            f"attribute_to_layer_input: layer '{path}' has {len(nodes[index][2])} inputs; "
            "supported: one"
        )
    return str(nodes[nodes[index][2][0]][0])


def _print_rules(rules: Any) -> None:
    for name, rule in rules.items():
        print(f"{name}: {rule}")


def _sums(relevance: Tensor) -> Tensor:
    return relevance.reshape(len(relevance), -1).sum(1)
