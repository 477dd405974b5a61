"""Networks in torch, for comparison: one with modules that peers can hook, one with the rules.

``TorchNetwork`` is an ordinary module built from the folded graph of the oracle. ``HandWritten`` is
the oracle's own propagation with torch's convolutions in float32: what a careful float32 torch
implementation of the same rules gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

import oracle
from oracle_layers import Array, Pair, as_image
from oracle_ops import (
    Add,
    AveragePool,
    Concat,
    Elementwise,
    GlobalAverage,
    LinearOp,
    MaxPool,
    Op,
    Rearrange,
)


def image_pads(begin: Pair, end: Pair) -> list[int]:
    """torch.nn.functional.pad's order: last axis first."""
    return [begin[1], end[1], begin[0], end[0]]


class TorchConv(oracle.Conv):
    def apply(self, w: Array, x: Array) -> Array:
        image = nn.functional.pad(
            torch.from_numpy(np.ascontiguousarray(as_image(x))),
            image_pads(self.pad_begin, self.pad_end),
        )
        kernel = torch.from_numpy(np.ascontiguousarray(as_image(w)))
        z = nn.functional.conv2d(image, kernel, None, self.stride, 0, self.dilation, self.groups)
        return z.numpy() if x.ndim == 4 else z.numpy()[:, :, 0]

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        height, width = as_image(x).shape[2:]
        top, left = self.pad_begin
        padded = (height + top + self.pad_end[0], width + left + self.pad_end[1])
        g = torch.nn.grad.conv2d_input(
            (*x.shape[:2], *padded),
            torch.from_numpy(np.ascontiguousarray(as_image(w))),
            torch.from_numpy(np.ascontiguousarray(as_image(s))),
            self.stride,
            0,
            self.dilation,
            self.groups,
        )
        return g.numpy()[:, :, top : top + height, left : left + width].reshape(x.shape)


class TorchDense(oracle.Dense):
    def apply(self, w: Array, x: Array) -> Array:
        return nn.functional.linear(torch.from_numpy(x), torch.from_numpy(w)).numpy()

    def adjoint(self, w: Array, s: Array, x: Array) -> Array:
        return (torch.from_numpy(np.ascontiguousarray(s)) @ torch.from_numpy(w)).numpy()


class HandWritten(oracle.Network):
    layer_types: Mapping[str, type[oracle.Linear]] = {
        **oracle.Network.layer_types,
        "Conv": TorchConv,
        "Dense": TorchDense,
    }

    def __init__(self, source: Any, output: str | None = None) -> None:
        super().__init__(source, np.float32, output)


class SumBranches(nn.Module):
    """Sum over the last axis of the stacked branches: one module, so that a rule can hook it."""

    def forward(self, stacked: Any) -> Any:
        return stacked.sum(-1)


def parameter(a: Array) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(a)))


def conv_module(layer: oracle.Conv) -> nn.Module:
    groups = layer.groups
    symmetric = layer.pad_begin == layer.pad_end
    conv = nn.Conv2d(
        layer.weight.shape[1] * groups,
        len(layer.weight),
        layer.kernel,
        layer.stride,
        layer.pad_begin if symmetric else 0,
        layer.dilation,
        groups,
        bias=layer.bias is not None,
    )
    conv.weight = parameter(layer.weight)
    conv.bias = None if layer.bias is None else parameter(layer.bias)
    if symmetric:
        return conv
    return nn.Sequential(nn.ZeroPad2d(image_pads(layer.pad_begin, layer.pad_end)), conv)


def dense_module(layer: oracle.Dense) -> nn.Module:
    sizes = (layer.weight.shape[1], len(layer.weight))
    dense = nn.utils.skip_init(nn.Linear, *sizes, bias=layer.bias is not None)
    dense.weight = parameter(layer.weight)
    dense.bias = None if layer.bias is None else parameter(layer.bias)
    return dense


ACTIVATIONS = {
    "Relu": nn.ReLU,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "Clip": nn.ReLU6,
}


def module_of(op: Op, kind: str, sum_module: type[nn.Module]) -> nn.Module:
    if isinstance(op, LinearOp):
        conv = isinstance(op.layer, oracle.Conv)
        return conv_module(op.layer) if conv else dense_module(op.layer)
    if isinstance(op, MaxPool):
        assert op.pad_begin == op.pad_end
        return nn.MaxPool2d(op.kernel, op.stride, op.pad_begin, op.dilation, ceil_mode=op.ceil_mode)
    if isinstance(op, AveragePool):
        assert op.pad_begin == op.pad_end
        return nn.AvgPool2d(op.kernel, op.stride, op.pad_begin, op.ceil_mode, op.count_include_pad)
    if isinstance(op, GlobalAverage):
        return nn.AdaptiveAvgPool2d(1)
    if isinstance(op, Add):
        return sum_module()
    assert isinstance(op, Elementwise), op
    if kind == "LeakyRelu":
        return nn.LeakyReLU(float(op.derivative(np.float64(-1.0))))
    return ACTIVATIONS[kind]()


class TorchNetwork(nn.Module):
    """The explained part of a network, with batch norms folded, in the network's dtype."""

    def __init__(self, network: oracle.Network, sum_module: type[nn.Module] = SumBranches) -> None:
        super().__init__()
        self.graph = [(n.name, n.op, n.inputs, n.output) for n in network.nodes]
        self.input, self.output = network.input, network.output
        self.layers = nn.ModuleDict(
            {
                self.key(n.name): module_of(n.op, network.kind_of[n.name], sum_module)
                for n in network.nodes
                if not isinstance(n.op, Concat | Rearrange)
            }
        )

    @staticmethod
    def key(name: str) -> str:
        return name.replace(".", "_")

    def layer(self, name: str) -> nn.Module:
        """The module that carries the parameters of a layer."""
        module = self.layers[self.key(name)]
        return module[-1] if isinstance(module, nn.Sequential) else module

    def forward(self, x: Any) -> Any:
        values = {self.input: x}
        for name, op, inputs, output in self.graph:
            xs = [values[i] for i in inputs]
            if isinstance(op, Concat):
                values[output] = torch.cat(xs, op.axis)
            elif isinstance(op, Rearrange):
                values[output] = xs[0].reshape(op.shape(tuple(xs[0].shape)))
            elif isinstance(op, Add):
                values[output] = self.layers[self.key(name)](torch.stack(xs, -1))
            else:
                values[output] = self.layers[self.key(name)](xs[0])
        return values[self.output]
