"""A whole network in float64 (or any dtype): an ONNX graph walked node by node.

Every value carries the batch dimension. ``Network`` folds batch norms first, as the definition of
the rules asks, then runs forward keeping every value, and backward adding up what each reader of a
value sends to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from oracle_layers import (
    Affine,
    Array,
    Conv,
    ConvTranspose,
    Dense,
    Linear,
    Pair,
    Rule,
    leaks,
)
from oracle_ops import (
    FUNCTIONS,
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Elementwise,
    GlobalAverage,
    GlobalMax,
    LinearOp,
    MaxPool,
    Op,
    PadOp,
    Pool,
    Rearrange,
    Softmax,
    clip,
    elu,
    gelu,
    leaky,
)

GRADIENT = Rule("gradient")
NORM = Rule("norm")
Rules = Rule | Callable[[str, str], Rule]


@dataclass
class Node:
    name: str
    op: Op
    inputs: list[str]
    output: str


@dataclass
class Explanation:
    output: Array
    relevance: Array
    layers: dict[str, Array] = field(default_factory=dict)


class Network:
    """source: a path, bytes or a ModelProto. output: the one to explain, the first by default."""

    layer_types: Mapping[str, type[Linear]] = {
        "Conv": Conv,
        "ConvTranspose": ConvTranspose,
        "Dense": Dense,
        "Affine": Affine,
    }

    def __init__(self, source: Any, dtype: Any = np.float64, output: str | None = None) -> None:
        if isinstance(source, onnx.ModelProto):
            model = source
        elif isinstance(source, bytes):
            model = onnx.load_from_string(source)
        else:
            model = onnx.load(str(source))
        graph = model.graph
        self.dtype = np.dtype(dtype)
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.input = next(i.name for i in graph.input if i.name not in self.constants)
        self.output = output or graph.output[0].name
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.tensor_of = {self.input: self.input}  # layer name -> the value that stands for it
        self.kind_of = {n.name or n.output[0]: n.op_type for n in graph.node}
        self.nodes: list[Node] = []
        self.latest: tuple[Array, dict[str, Array]] | None = None
        for node in swish_pairs(list(graph.node)):
            self.add(node)
        self.prune()
        self.softmax = self.take_softmax()
        self.fold_batch_norms()

    def add(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            return
        op, inputs = self.build(node, attributes)
        name = node.name or node.output[0]
        self.nodes.append(Node(name, op, inputs, node.output[0]))
        self.tensor_of[name] = node.output[0]

    def weight(self, name: str) -> Array:
        return self.constants[name].astype(self.dtype)

    def linear(self, kind: str, *args: Any, **kwargs: Any) -> LinearOp:
        return LinearOp(self.layer_types[kind](*args, **kwargs), kind)

    def build(self, node: onnx.NodeProto, a: dict[str, Any]) -> tuple[Op, list[str]]:
        kind, first = node.op_type, list(node.input[:1])
        fixed = [self.constants.get(name) for name in node.input]
        if kind in ("Conv", "ConvTranspose"):
            return self.convolution(node, a), first
        if kind == "Gemm":
            return self.gemm(node, a), first
        if kind == "MatMul":
            return self.linear("Dense", self.weight(node.input[1]).T), first
        if kind == "BatchNormalization":
            scale, shift, mean, var = (self.weight(name) for name in node.input[1:5])
            scale = scale / np.sqrt(var + self.dtype.type(a.get("epsilon", 1e-5)))
            return BatchNorm(scale, shift - mean * scale), first
        if kind in FUNCTIONS:
            return FUNCTIONS[kind], first
        if kind in ("LeakyRelu", "Elu"):
            make, default = (leaky, 0.01) if kind == "LeakyRelu" else (elu, 1.0)
            return make(a.get("alpha", default)), first
        if kind == "Gelu":
            return gelu(a.get("approximate", b"none") == b"tanh"), first
        if kind == "Clip":
            bounds = [None if v is None else v.item() for v in fixed[1:]] + [None, None]
            low = a.get("min", bounds[0] if bounds[0] is not None else -np.inf)
            high = a.get("max", bounds[1] if bounds[1] is not None else np.inf)
            return clip(low, high), first
        if kind in ("MaxPool", "AveragePool"):
            return self.pool(kind, a), first
        if kind in ("GlobalAveragePool", "ReduceMean"):
            return GlobalAverage(bool(a.get("keepdims", 1))), first
        if kind == "GlobalMaxPool":
            return GlobalMax(), first
        if kind == "Concat":
            return Concat(a["axis"]), list(node.input)
        if kind in ("Add", "Sum", "Mul", "Sub", "Div"):
            return self.arithmetic(kind, node)
        if kind in ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"):
            return Rearrange(self.new_shape(kind, a, fixed)), first
        if kind == "Pad":
            begin_end = [int(v) for v in (a["pads"] if "pads" in a else fixed[1])]
            half = len(begin_end) // 2
            value = float(fixed[2]) if len(fixed) > 2 and fixed[2] is not None else 0.0
            pairs = list(zip(begin_end[:half], begin_end[half:], strict=True))
            return PadOp(pairs, float(a.get("value", value))), first
        if kind == "Softmax":
            return Softmax(a.get("axis", -1 if self.opset >= 13 else 1)), first
        raise NotImplementedError(kind)

    def convolution(self, node: onnx.NodeProto, a: dict[str, Any]) -> LinearOp:
        w = self.weight(node.input[1])
        bias = self.weight(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise NotImplementedError("auto_pad needs the input's size")
        begin, end = split_pads(a.get("pads"))
        more = {}
        if node.op_type == "ConvTranspose":
            more["output_padding"] = pair(a.get("output_padding"), 0)
        return self.linear(
            node.op_type,
            w,
            bias,
            stride=pair(a.get("strides"), 1),
            dilation=pair(a.get("dilations"), 1),
            pad_begin=begin,
            pad_end=end,
            groups=a.get("group", 1),
            **more,
        )

    def gemm(self, node: onnx.NodeProto, a: dict[str, Any]) -> LinearOp:
        w = self.weight(node.input[1])
        w = w if a.get("transB", 0) else w.T
        bias = None
        if len(node.input) > 2 and node.input[2]:
            bias = np.broadcast_to(self.weight(node.input[2]).ravel(), (len(w),))
            bias = bias * self.dtype.type(a.get("beta", 1.0))
        return self.linear("Dense", w * self.dtype.type(a.get("alpha", 1.0)), bias)

    def pool(self, kind: str, a: dict[str, Any]) -> Pool:
        begin, end = split_pads(a.get("pads"))
        geometry = (
            pair(a["kernel_shape"], 1),
            pair(a.get("strides"), 1),
            pair(a.get("dilations"), 1),
            begin,
            end,
            bool(a.get("ceil_mode", 0)),
        )
        if kind == "MaxPool":
            return MaxPool(*geometry)
        return AveragePool(*geometry, bool(a.get("count_include_pad", 0)))

    def arithmetic(self, kind: str, node: onnx.NodeProto) -> tuple[Op, list[str]]:
        variable = [name for name in node.input if name not in self.constants]
        if len(variable) == len(node.input):
            if kind not in ("Add", "Sum"):
                raise NotImplementedError(f"{kind} of two values")
            return Add(), variable
        constant = self.weight(next(n for n in node.input if n in self.constants))
        if kind in ("Sub", "Div") and node.input[0] != variable[0]:
            raise NotImplementedError(f"{kind} from a constant")
        scale = {"Mul": constant, "Div": 1 / constant}.get(kind, np.ones((), self.dtype))
        shift = {"Add": constant, "Sub": -constant}.get(kind, np.zeros((), self.dtype))
        return Elementwise(lambda x: x * scale + shift, lambda x: scale + 0 * x), variable

    def new_shape(
        self, kind: str, a: dict[str, Any], fixed: list[Array | None]
    ) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
        if kind == "Flatten":
            return lambda shape: (shape[0], -1)
        if kind == "Reshape":
            target = [int(v) for v in fixed[1]]  # type: ignore[union-attr]
            return lambda shape: (
                shape[0],
                *(shape[i + 1] if v == 0 else v for i, v in enumerate(target[1:])),
            )
        if kind in ("Squeeze", "Unsqueeze"):
            listed = a["axes"] if "axes" in a else fixed[1]
            axes = tuple(int(v) for v in listed)  # type: ignore[union-attr]
            change = np.squeeze if kind == "Squeeze" else np.expand_dims
            return lambda shape: change(np.empty(shape), axes).shape
        return lambda shape: shape

    def readers(self, tensor: str) -> list[Node]:
        return [node for node in self.nodes if tensor in node.inputs]

    def prune(self) -> None:
        """Nodes that the output does not need are left out."""
        needed = {self.output}
        for node in reversed(self.nodes):
            if node.output in needed:
                needed.update(node.inputs)
        self.nodes = [node for node in self.nodes if node.output in needed]

    def take_softmax(self) -> Softmax | None:
        """A softmax at the end is only applied to the output; its input is what gets explained."""
        if self.nodes and isinstance(self.nodes[-1].op, Softmax):
            last = self.nodes.pop()
            self.output = self.tensor_of[last.name] = last.inputs[0]
            return last.op
        return None

    def fold_batch_norms(self) -> None:
        for node in [n for n in self.nodes if isinstance(n.op, BatchNorm)]:
            before = next((n for n in self.nodes if n.output == node.inputs[0]), None)
            after = self.readers(node.output)
            if (
                before
                and isinstance(before.op, LinearOp)
                and before.op.kind != "Affine"
                and (len(self.readers(before.output)) == 1 and before.output != self.output)
            ):
                fold_behind(before.op.layer, node.op)
                self.tensor_of[before.name] = before.output = node.output
                self.nodes.remove(node)
            elif (
                len(after) == 1 and node.output != self.output and can_fold_ahead(after[0], node.op)
            ):
                fold_ahead(after[0].op.layer, node.op)
                after[0].inputs = list(node.inputs)
                self.tensor_of[node.name] = node.inputs[0]
                self.nodes.remove(node)
            else:
                node.op = self.linear("Affine", node.op.scale, node.op.shift)

    @property
    def linear_layers(self) -> list[tuple[str, str]]:
        """(name, "Conv", "ConvTranspose", "Dense" or "Affine") in order."""
        return [(n.name, n.op.kind) for n in self.nodes if isinstance(n.op, LinearOp)]

    def values(self, x: Array) -> dict[str, Array]:
        """Every value of the network; those of the latest input are kept."""
        if self.latest is not None and self.latest[0] is x:
            return self.latest[1]
        values = {self.input: np.asarray(x).astype(self.dtype)}
        for node in self.nodes:
            values[node.output] = node.op.forward(*(values[name] for name in node.inputs))
        self.latest = (x, values)
        return values

    def forward(self, x: Array) -> Array:
        y = self.values(x)[self.output]
        return y if self.softmax is None else self.softmax.forward(y)

    def explain(
        self,
        x: Array,
        start: Array | Callable[[Array], Array],
        rules: Rules,
        masks: Mapping[str, Array] | None = None,
        norm: Rule = NORM,
        exclude_parallel: bool = False,
    ) -> Explanation:
        """Relevance at the input and at every layer's output.

        start: relevance at the output, or a function of it. rules: one rule for every linear layer
        or a function of (name, kind); ``norm`` is for sums and averages. The gradient rule applies
        to all layers. masks multiply the relevance at a layer's output; with exclude_parallel what
        bypasses a masked layer is dropped, so that only relevance that went through it is left.
        """
        values = self.values(x)
        y = values[self.output]
        relevance = {self.output: np.asarray(start(y) if callable(start) else start, self.dtype)}
        cuts = {self.tensor_of[name]: mask for name, mask in (masks or {}).items()}
        for node in reversed(self.nodes):
            if node.output not in relevance:
                continue
            r = relevance[node.output]
            if node.output in cuts:
                r = relevance[node.output] = (r * cuts[node.output]).astype(self.dtype)
                if exclude_parallel:
                    behind = self.reachable(node.output)
                    relevance = {name: v for name, v in relevance.items() if name in behind}
            for name, part in zip(
                node.inputs, self.send(node, values, r, rules, norm), strict=True
            ):
                relevance[name] = relevance[name] + part if name in relevance else part
        nothing = {name: np.zeros_like(value) for name, value in values.items()}
        relevance = {**nothing, **relevance}
        layers = {n: relevance[t] for n, t in self.tensor_of.items() if t in relevance}
        output = y if self.softmax is None else self.softmax.forward(y)
        return Explanation(output, relevance[self.input], layers)

    def reachable(self, tensor: str) -> set[str]:
        """The value and all that is computed from it."""
        found = {tensor}
        for node in self.nodes:
            if found.intersection(node.inputs):
                found.add(node.output)
        return found

    def send(
        self, node: Node, values: dict[str, Array], r: Array, rules: Rules, norm: Rule
    ) -> list[Array]:
        xs, y = [values[name] for name in node.inputs], values[node.output]
        if rules == GRADIENT:
            return node.op.gradient(xs, y, r)
        if not isinstance(node.op, LinearOp):
            return node.op.relevance(xs, y, r, norm)
        rule = rules if isinstance(rules, Rule) else rules(node.name, node.op.kind)
        return node.op.relevance(xs, y, r, rule)

    def conservation(self, x: Array, start: Array, rules: Rules) -> dict[str, Any]:
        """Leaks of every linear layer by name."""
        values, result = self.values(x), {}
        explained = self.explain(x, start, rules)
        for node in self.nodes:
            if isinstance(node.op, LinearOp):
                rule = rules if isinstance(rules, Rule) else rules(node.name, node.op.kind)
                r = explained.layers[node.name]
                result[node.name] = leaks(node.op.layer, values[node.inputs[0]], r, rule)
        return result


def pair(values: Any, default: int) -> Pair:
    """(y, x); one-dimensional layers use x."""
    if values is None:
        return (default, default)
    return (default, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def split_pads(pads: Any) -> tuple[Pair, Pair]:
    if pads is None:
        return (0, 0), (0, 0)
    half = len(pads) // 2
    return pair(pads[:half], 0), pair(pads[half:], 0)


def fold_behind(layer: Linear, norm: BatchNorm) -> None:
    """w <- w scale, b <- b scale + shift per output channel."""
    w = layer.weight
    if isinstance(layer, ConvTranspose):
        per_group = norm.scale.reshape(layer.groups, 1, -1)
        rows = w.reshape(layer.groups, -1, w.shape[1], *w.shape[2:])
        scale = per_group.reshape(layer.groups, 1, w.shape[1], *[1] * (w.ndim - 2))
        layer.weight = (rows * scale).reshape(w.shape)
    else:
        layer.weight = w * norm.scale.reshape(-1, *[1] * (w.ndim - 1))
    bias = 0 if layer.bias is None else layer.bias
    layer.bias = bias * norm.scale + norm.shift


def can_fold_ahead(node: Node, norm: BatchNorm) -> bool:
    """W (scale x + shift) + b; padded cells would have to hold shift, so only 0 passes there."""
    layer = node.op.layer if isinstance(node.op, LinearOp) else None
    if isinstance(layer, Conv):
        return not any(layer.pad_begin + layer.pad_end) or not norm.shift.any()
    return isinstance(layer, Dense)


def fold_ahead(layer: Linear, norm: BatchNorm) -> None:
    w = layer.weight
    scale, shift = norm.scale, norm.shift
    if isinstance(layer, Conv):
        per_group = w.shape[1]
        outputs = len(w) // layer.groups
        channel = np.arange(len(w))[:, None] // outputs * per_group + np.arange(per_group)
        shape = (*channel.shape, *[1] * (w.ndim - 2))
        scale, shift = scale[channel].reshape(shape), shift[channel].reshape(shape)
    moved = (w * shift).reshape(len(w), -1).sum(1)
    layer.weight = w * scale
    layer.bias = moved if layer.bias is None else layer.bias + moved


def swish_pairs(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Mul(x, Sigmoid(x)) is SiLU: one node that keeps the product's name."""
    result = list(nodes)
    for product in [n for n in nodes if n.op_type == "Mul"]:
        for gate in [n for n in nodes if n.op_type == "Sigmoid"]:
            if set(product.input) == {gate.input[0], gate.output[0]}:
                fused = onnx.helper.make_node("Swish", gate.input, product.output, product.name)
                result[result.index(product)] = fused
                result.remove(gate)
    return result
