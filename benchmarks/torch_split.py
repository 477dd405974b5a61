"""A hand-written torch α-β rule: weights split by sign once, two products forward, two backward.

What a careful user gets from torch without a library: nothing is clamped, cloned or hooked per
call. For networks of convolutions, ReLUs and max pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from torch_networks import TorchNetwork

EPSILON = 1e-6


def stabilized(z: torch.Tensor) -> torch.Tensor:
    return z + torch.where(z < 0, -EPSILON, EPSILON)


class AlphaBeta(torch.autograd.Function):
    """Output z = zp + zn; the "gradient" is relevance."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: SplitConv) -> torch.Tensor:
        zp, zn = layer.positive(x), layer.negative(x)
        ctx.layer = layer
        ctx.save_for_backward(x, zp, zn)
        return zp + zn

    @staticmethod
    def backward(ctx: Any, r: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, zp, zn = ctx.saved_tensors
        layer = ctx.layer
        result = layer.share(x, layer.alpha * r / stabilized(zp), layer.weights)
        if layer.beta:
            result -= layer.share(x, layer.beta * r / stabilized(zn), layer.weights[::-1])
        return result, None


class SplitConv(nn.Module):
    """signed: the input may be negative, which doubles the products."""

    def __init__(self, conv: nn.Conv2d, signed: bool, alpha: float, beta: float) -> None:
        super().__init__()
        self.geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
        weight, bias = conv.weight.detach(), conv.bias.detach()
        self.weights = (weight.clamp(min=0), weight.clamp(max=0))
        self.biases = (bias.clamp(min=0), bias.clamp(max=0))
        self.signed, self.alpha, self.beta = signed, alpha, beta

    def positive(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, self.weights, self.biases[0])

    def negative(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, self.weights[::-1], self.biases[1])

    def product(self, x: torch.Tensor, weights: Any, bias: torch.Tensor) -> torch.Tensor:
        """weights[0] meets the positive part of x, weights[1] the negative one."""
        conv = nn.functional.conv2d
        if not self.signed:
            return conv(x, weights[0], bias, *self.geometry)
        z = conv(x.clamp(min=0), weights[0], bias, *self.geometry)
        return z + conv(x.clamp(max=0), weights[1], None, *self.geometry)

    def share(self, x: torch.Tensor, s: torch.Tensor, weights: Any) -> torch.Tensor:
        back = torch.nn.grad.conv2d_input
        if not self.signed:
            return x * back(x.shape, weights[0], s, *self.geometry)
        positive = x.clamp(min=0) * back(x.shape, weights[0], s, *self.geometry)
        return positive + x.clamp(max=0) * back(x.shape, weights[1], s, *self.geometry)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return AlphaBeta.apply(x, self)


class PassReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, r: torch.Tensor) -> torch.Tensor:
        return r


class Activation(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return PassReLU.apply(x)


def split(module: TorchNetwork, alpha: float, beta: float) -> nn.Module:
    """module with its layers replaced, in place; backward gives relevance."""
    signed = {module.input}
    for name, _, inputs, output in module.graph:
        key = module.key(name)
        layer = module.layers[key]
        if isinstance(layer, nn.Conv2d):
            module.layers[key] = SplitConv(layer, not signed.isdisjoint(inputs), alpha, beta)
            signed.add(output)
        elif isinstance(layer, nn.ReLU):
            module.layers[key] = Activation()
        else:
            assert isinstance(layer, nn.MaxPool2d), layer
            if not signed.isdisjoint(inputs):
                signed.add(output)
    return module
