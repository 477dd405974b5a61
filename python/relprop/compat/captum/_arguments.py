"""What the methods' attribute() have in common: one input, targets, batches."""

from __future__ import annotations

from typing import Any

import torch

from relprop._core import UnsupportedError
from relprop.compat._modules import compiled, network_of
from relprop.model import Model, Network

Tensor = torch.Tensor


def single_input(inputs: Any, additional_forward_args: Any) -> tuple[Tensor, bool]:
    """The only input, and whether it came in a tuple.

    Raises:
        UnsupportedError: several inputs, or more arguments of the forward function.
    """
    if additional_forward_args is not None:
        raise UnsupportedError("additional_forward_args; supported: models of one input")
    if not isinstance(inputs, tuple):
        return inputs, False
    if len(inputs) != 1:
        raise UnsupportedError(f"{len(inputs)} inputs; supported: one tensor")
    return inputs[0], True


def formatted(result: Tensor, in_tuple: bool) -> Any:
    """The result as the inputs were."""
    return (result,) if in_tuple else result


def model_of(module: Any, x: Any) -> tuple[Model, Network]:
    """The compiled module; a relprop.Model stays what it is."""
    model = module if isinstance(module, Model) else compiled(module, x)
    return model, network_of(model, x)


def resolved_target(target: Any, network: Network, n: int) -> Any:
    """Captum's target as relprop's.

    Raises:
        ValueError: None where the model has several outputs per example.
    """
    shape = network.output_shape
    if target is None:
        if any(size != 1 for size in shape):
            raise ValueError(
                f"target is None and the model has outputs of shape {shape} per example; accepted: "
                "the class, or one per example"
            )
        return [0] * n if len(shape) == 1 else tuple(0 for _ in shape)
    if isinstance(target, Tensor) and target.numel() == 1:
        return int(target)
    if isinstance(target, tuple) and len(target) == 1:
        return int(target[0])
    return target


def selected(output: Tensor, target: Any) -> Tensor:
    """The outputs at the target, (N,)."""
    index = torch.as_tensor(target)
    rows = torch.arange(len(output))
    if output.ndim == 2:
        return output[rows, index.expand(len(output))]
    positions = index.expand(len(output), output.ndim - 1)
    return output[(rows, *positions.unbind(1))]


def expanded(target: Any, times: int, interleave: bool) -> Any:
    """The target for repeated examples."""
    if isinstance(target, int) or target is None or isinstance(target, tuple):
        return target
    index = torch.as_tensor(target)
    if interleave:
        return index.repeat_interleave(times, dim=0)
    return index.repeat(times, *(1 for _ in index.shape[1:]))
