"""A torch module in float64 as a network of the oracle, read off torch.export's graph.

Nothing of relprop is used: the graph is made free of in-place operators by torch, layers with
weights become the oracle's own, and every other operator is run by torch, its gradient by autograd.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import getitem
from typing import Any

import numpy as np
import torch

import oracle
from oracle_layers import Array, Rule, stabilize
from oracle_network import Node
from oracle_ops import BatchNorm, LayerNorm, LinearOp, Op, Product

MOVES = {
    "cat", "chunk", "clone", "expand", "flatten", "pad", "permute", "reshape", "slice", "split",
    "split_with_sizes", "squeeze", "transpose", "unsqueeze", "view",
}  # fmt: skip
AVERAGES = {
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "mean",
    "upsample_bilinear2d", "upsample_nearest2d",
}  # fmt: skip
MAXIMA = {"max_pool1d", "max_pool2d"}
SUMS = {"add", "sub"}


@dataclass
class TorchOp(Op):
    """An operator without weights: relevance passes, moves with the values, or is shared."""

    function: Callable[..., Any]
    name: str

    def forward(self, *xs: Array) -> Array:
        return self.function(*map(torch.from_numpy, xs)).numpy().copy()

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        variables = [torch.from_numpy(x).clone().requires_grad_() for x in xs]
        with torch.enable_grad():
            result = self.function(*variables)
        parts = torch.autograd.grad(result, variables, torch.from_numpy(np.ascontiguousarray(g)))
        return [part.numpy() for part in parts]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        if self.name in MOVES | MAXIMA:
            return self.gradient(xs, y, r)
        if self.name in AVERAGES or (self.name in SUMS and len(xs) > 1):
            s = r / stabilize(y, rule.stabilizer)
            return [x * part for x, part in zip(xs, self.gradient(xs, y, s), strict=True)]
        assert len(xs) == 1, self.name
        assert xs[0].shape == y.shape, self.name
        return [r]


@dataclass
class GatedProduct(Op):
    """a ⊙ b, where the smaller one is the gate and is broadcast; neither is where sizes agree."""

    rule: Rule

    def forward(self, *xs: Array) -> Array:
        return xs[0] * xs[1]

    @staticmethod
    def summed(part: Array, x: Array) -> Array:
        axes = tuple(i for i, size in enumerate(x.shape) if size != part.shape[i])
        return part.sum(axes, keepdims=True)

    def gradient(self, xs: list[Array], y: Array, g: Array) -> list[Array]:
        return [self.summed(g * xs[1], xs[0]), self.summed(g * xs[0], xs[1])]

    def relevance(self, xs: list[Array], y: Array, r: Array, rule: Rule) -> list[Array]:
        sizes = [x.size for x in xs]
        signal = sizes.index(max(sizes))
        parts = Product(sizes[0] != sizes[1]).relevance(xs, y, r, self.rule)
        ordered = parts if signal == 0 else parts[::-1]
        return [self.summed(part, x) for part, x in zip(ordered, xs, strict=True)]


class TorchNetwork(oracle.Network):
    """A module for batches of exactly ``count`` samples; gates: "constant" or "split"."""

    def __init__(self, module: torch.nn.Module, x: torch.Tensor, gates: str = "constant") -> None:
        module, x = copy.deepcopy(module).double(), x.double()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (x,), strict=False).run_decompositions({})
        self.dtype, self.rounding = np.dtype(np.float64), False
        self.gate_rule = Rule("pass" if gates == "constant" else "norm")
        self.known = {
            spec.arg.name: {**program.state_dict, **program.constants}[spec.target].detach()
            for spec in program.graph_signature.input_specs
            if spec.target is not None
        }
        self.input = next(iter(program.graph_signature.user_inputs))
        self.output = next(iter(program.graph_signature.user_outputs))
        self.tensor_of, self.kind_of = {self.input: self.input}, {}
        self.nodes, self.latest, self.softmax = [], None, None
        for node in program.graph.nodes:
            if node.op == "call_function":
                self.add_call(node)
        self.prune()
        self.fold_batch_norms()

    def rounded(self) -> TorchNetwork:
        """The same with every value rounded to float32: what no float32 program can avoid."""
        result = copy.copy(self)
        result.rounding, result.latest = True, None
        return result

    def values(self, x: Array) -> dict[str, Array]:
        if not self.rounding:
            return super().values(x)
        values = {self.input: np.asarray(x).astype(self.dtype)}
        for node in self.nodes:
            y = node.op.forward(*(values[name] for name in node.inputs))
            values[node.output] = y.astype(np.float32).astype(self.dtype)
        return values

    def add_call(self, node: torch.fx.Node) -> None:
        if isinstance(node.meta["val"], list | tuple):
            return  # its parts are made by who takes them
        name = node.target._schema.name.removeprefix("aten::") if node.target != getitem else ""
        variable = [str(n) for n in node.all_input_nodes if str(n) not in self.known]
        if not variable and name:
            value = node.target(*self.filled(node.args, {}), **self.filled(node.kwargs, {}))
            self.known[node.name] = value
            return
        op, inputs = self.op_of(node, name, variable)
        self.nodes.append(Node(node.name, op, inputs, node.name))
        self.tensor_of[node.name] = node.name

    def filled(self, arguments: Any, values: dict[str, Any]) -> Any:
        return torch.fx.map_arg(arguments, lambda n: {**self.known, **values}[str(n)])

    def weight(self, node: Any) -> Array | None:
        return None if node is None else self.known[str(node)].numpy()

    def op_of(self, node: torch.fx.Node, name: str, variable: list[str]) -> tuple[Op, list[str]]:
        if node.target == getitem:
            return self.part(node)
        bound = {a.name: a.default_value for a in node.target._schema.arguments}
        bound |= dict(zip(bound, node.args, strict=False)) | dict(node.kwargs)
        if name in ("conv1d", "conv2d"):
            return self.convolution(bound), variable
        if name in ("conv_transpose1d", "conv_transpose2d"):
            pads = two(bound["padding"], 0)
            layer: Any = oracle.ConvTranspose(
                self.weight(bound["weight"]), self.weight(bound["bias"]), two(bound["stride"], 1),
                two(bound["dilation"], 1), pads, pads, two(bound["output_padding"], 0),
                bound["groups"],
            )  # fmt: skip
            return LinearOp(layer, "ConvTranspose"), variable
        if name == "linear":
            dense = oracle.Dense(self.weight(bound["weight"]), self.weight(bound["bias"]))
            return LinearOp(dense, "Dense"), variable
        if name == "layer_norm":
            size = math.prod(bound["normalized_shape"])
            weight, bias = self.weight(bound["weight"]), self.weight(bound["bias"])
            weight = np.ones(size) if weight is None else weight
            bias = np.zeros(size) if bias is None else bias
            return LayerNorm(weight, bias, bound["eps"]), variable
        if name == "mul" and len(variable) == 2:
            return GatedProduct(self.gate_rule), [str(node.args[0]), str(node.args[1])]

        def run(*xs: torch.Tensor) -> Any:
            values = dict(zip(variable, xs, strict=True))
            return node.target(  # type: ignore[operator]
                *self.filled(node.args, values), **self.filled(node.kwargs, values)
            )

        return TorchOp(run, name), variable

    def part(self, node: torch.fx.Node) -> tuple[Op, list[str]]:
        """One of several results: of a split, or the only one of interest."""
        whole, index = node.args
        source = [str(n) for n in whole.all_input_nodes if str(n) not in self.known]
        name = whole.target._schema.name.removeprefix("aten::")
        if name == "_native_batch_norm_legit_no_training":
            scale, shift, mean, variance = (self.weight(n) for n in whole.args[1:5])
            scale = scale / np.sqrt(variance + whole.args[-1])
            return BatchNorm(scale, shift - mean * scale), source

        def run(x: torch.Tensor) -> Any:
            return whole.target(*self.filled(whole.args, {source[0]: x}), **whole.kwargs)[index]

        return TorchOp(run, name), source

    def convolution(self, bound: dict[str, Any]) -> Op:
        weight, padding, dilation = (
            self.weight(bound["weight"]),
            bound["padding"],
            bound["dilation"],
        )
        kernel = weight.shape[2:]
        if padding == "same":
            dilated = [d * (k - 1) for d, k in zip(dilation * len(kernel), kernel, strict=False)]
            begin, end = two([d // 2 for d in dilated], 0), two([d - d // 2 for d in dilated], 0)
        else:
            begin = end = two([0] if padding == "valid" else padding, 0, len(kernel))
        count = len(kernel)
        layer = oracle.Conv(
            weight, self.weight(bound["bias"]), two(bound["stride"], 1, count),
            two(dilation, 1, count), begin, end, bound["groups"],
        )  # fmt: skip
        return LinearOp(layer, "Conv")


def two(values: Any, filler: int, axes: int = 1) -> tuple[int, int]:
    """(y, x); one-dimensional layers use x, and one value may stand for both axes."""
    values = list(values)
    if len(values) == 2:
        return values[0], values[1]
    return (values[0], values[0]) if axes == 2 else (filler, values[0])
