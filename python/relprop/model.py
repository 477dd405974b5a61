"""Networks: loaded once, compiled per input size and set of rules, shared by all threads."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from relprop import _core
from relprop._arrays import Array, FloatArray, floats
from relprop._cache import Cache
from relprop._summary import summary
from relprop.composites import (
    Assignment,
    Composite,
    LayerRules,
    Node,
    as_composite,
    assign,
    upstream,
)
from relprop.rules import Rule

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

# Packed weights take about twice a network's size per plan: a few kinds of explanation of one model
# side by side are common, dozens are not.
KEPT_PLANS = 8
KEPT_SHAPES = 4

# What a plan is for: the output alone, the gradient, or relevance under these rules.
How = Composite | LayerRules | Literal["forward", "gradient"]


class Source(Protocol):
    """Something that networks for any sample shape can be built from."""

    @property
    def input_shape(self) -> tuple[int | None, ...]: ...
    @property
    def outputs(self) -> list[str]: ...
    def build(self, sample_shape: tuple[int, ...], output: str | None = None) -> _core.Model: ...


@dataclass(frozen=True)
class Network:
    """A network for one sample shape, and the node that is its explained output."""

    core: _core.Model
    nodes: list[Node]
    output: int
    output_name: str

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Sizes of the output per sample."""
        return self.nodes[self.output][3]

    def node(self, name: str) -> int:
        """The index of a layer that the output depends on.

        Raises:
            ValueError: there is none, or the output does not depend on it.
        """
        index = self.core.find(name)
        if index not in upstream(self.nodes, self.output):
            raise ValueError(f"layer '{name}': output '{self.output_name}' does not depend on it")
        return index


class Model:
    """A trained network that can be run and explained.

    Calling it gives the output: ``model(x)``. All methods of relprop take it. Made by `from_onnx`
    and `from_torch`; from a `_core.Model` for networks written down by hand.

    Any number of threads may use one model at once.
    """

    def __init__(
        self, source: Source | _core.Model, output: str | None = None, samples: int = 1
    ) -> None:
        self._source = source
        self._output = output
        self._samples = samples
        self._networks: Cache[Network] = Cache(KEPT_SHAPES)
        self._plans: Cache[_core.Plan] = Cache(KEPT_PLANS)
        self._latest: Network | None = None
        shape = self.input_shape
        if None not in shape:
            self.network(tuple(size for size in shape if size is not None))

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Sizes of a sample, without the batch; None where any size is taken."""
        if isinstance(self._source, _core.Model):
            return self._source.nodes[0][3]
        return self._source.input_shape

    @property
    def output_names(self) -> list[str]:
        """The outputs that can be explained, the one that is explained first."""
        if isinstance(self._source, _core.Model):
            names = [name for name, _ in self._source.outputs]
        else:
            names = list(self._source.outputs)
        first = self._output if self._output is not None else names[0]
        return [first, *(name for name in names if name != first)]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Sizes of the output per sample, for the latest input size."""
        return self._any_network().output_shape

    @property
    def layers(self) -> list[str]:
        """The names of all layers that the output depends on, in order, without the input.

        Raises:
            ValueError: sizes of the input are open and no input has been seen yet.
        """
        network = self._any_network()
        return [network.nodes[i][0] for i in upstream(network.nodes, network.output)[1:]]

    @property
    def parameter_count(self) -> int:
        """The number of weights and biases."""
        return self._any_network().core.parameter_count

    def __call__(self, x: Array, *, n_threads: int | None = None, cast: bool = False) -> Array:
        """The network's output.

        Args:
            x: (N, *input_shape), float32, a NumPy array or a CPU torch tensor.
            n_threads: default: all cores that the process may use, or OMP_NUM_THREADS.
            cast: round float64 or float16 input to float32 instead of refusing it.

        Returns:
            (N, *output_shape), float32, of the kind of x.

        Raises:
            TypeError: another type or dtype.
            ValueError: another shape, NaN or infinite values, a tensor that is not on the CPU.
        """
        given = floats(x, "x", cast=cast)
        network = self.network(self.sample_shape(given.values))
        plan = self.plan(network, "forward")
        return given.restore(plan.forward(given.values, checked_threads(n_threads)))

    def for_batches_of(self, samples: int) -> Model:
        """The same network, compiled for batches of about this size.

        Dense layers then take all samples of a batch at once: from some 32 samples on that is
        faster, up to twice with a matrix unit, and for single samples slower. A sample has the same
        bits in any batch of the new model; those of this one differ by rounding.

        Args:
            samples: how many usually come together.

        Raises:
            TypeError, ValueError: not an int of at least 1.
        """
        return Model(self._source, self._output, checked_count(samples, "samples"))

    def __repr__(self) -> str:
        return f"<relprop.Model {accepted_shape(self.input_shape)} -> '{self.output_names[0]}'>"

    def summary(
        self,
        rule: Rule | Composite | str = "epsilon_alpha2_beta1",
        *,
        sample_shape: tuple[int, ...] | None = None,
    ) -> str:
        """A table of the layers: shapes, parameters, and which kernel runs each under this rule.

        Args:
            rule: as for `LRP`.
            sample_shape: sizes of a sample; default: those of the latest input.

        Raises:
            ValueError: sizes of the input are open and neither given nor known from an input.
        """
        network = self._any_network() if sample_shape is None else self.network(sample_shape)
        return summary(network, self.plan(network, as_composite(rule)))

    def sample_shape(self, x: FloatArray) -> tuple[int, ...]:
        """The shape of x without the batch, if this model takes it.

        Raises:
            ValueError: it does not.
        """
        declared, shape = self.input_shape, x.shape
        fits = len(shape) == len(declared) + 1 and all(
            d in (None, s) for d, s in zip(declared, shape[1:], strict=True)
        )
        if not fits:
            alone = len(shape) == len(declared)
            hint = "; a batch dimension is missing, as in x[None]" if alone else ""
            raise ValueError(
                f"input '{self._input_name()}': x has shape {shape}; "
                f"accepted: {accepted_shape(declared)}{hint}"
            )
        return shape[1:]

    def network(self, sample_shape: tuple[int, ...]) -> Network:
        """The network for samples of this shape."""
        network = self._networks.get(sample_shape, lambda: self._build(sample_shape))
        self._latest = network
        return network

    def plan(self, network: Network, how: How) -> _core.Plan:
        """The network compiled for a purpose; the same object for the same one."""
        key = how if isinstance(how, str) else how.key
        # The variable may change while a model lives. Asking the engine what it makes of it costs
        # 0.1 ms on a virtual machine, where reading the processor's features is trapped.
        isa = os.environ.get("RELPROP_ISA", "")
        shape = network.nodes[0][3]
        return self._plans.get((shape, isa, key), lambda: _compile(network, how, self._samples))

    def gradient_plan(self, network: Network, node: int) -> _core.Plan:
        """The network compiled for gradients of one node's value."""
        key = ("gradient", node, os.environ.get("RELPROP_ISA", ""), network.nodes[0][3])
        rules = [_core.Rule("gradient")] * len(network.nodes)
        samples = self._samples
        return self._plans.get(
            key, lambda: _core.Plan(network.core, rules, output=node, samples=samples)
        )

    def _build(self, sample_shape: tuple[int, ...]) -> Network:
        if isinstance(self._source, _core.Model):
            core = self._source
            name, output = core.outputs[0]
            if self._output is not None:
                name, output = self._output, core.find(self._output)
        else:
            core = self._source.build(sample_shape, self._output)
            name, output = core.outputs[0]
        return Network(core, core.nodes, output, name)

    def _any_network(self) -> Network:
        if self._latest is None:
            raise ValueError(
                f"the input leaves sizes open, {accepted_shape(self.input_shape)}: "
                "layers are known after the first input"
            )
        return self._latest

    def _input_name(self) -> str:
        if isinstance(self._source, _core.Model):
            return self._source.nodes[0][0]
        return str(getattr(self._source, "input_name", "input"))


def from_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto, output: str | None = None
) -> Model:
    """Loads a network from an ONNX file.

    Args:
        source: a path, the file's bytes, or an onnx.ModelProto.
        output: the output to explain where there are several (default: the first), or any tensor
            or node by name.

    Raises:
        ImportError: the package onnx is not installed (``pip install relprop[onnx]``).
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or contradicts itself, or there is no such output.
        UnsupportedError: an operator that relprop has no layer for; a ValueError too.
    """
    from relprop import _onnx

    graph = _onnx.load(source)
    if output is not None:
        graph.tensor(output)
    return Model(graph, output)


def from_torch(module: torch.nn.Module, example: torch.Tensor, output: str | None = None) -> Model:
    """Takes over a torch module, traced by torch.export; the module itself is not changed.

    The model is a snapshot: later changes of the module's weights are not seen. Layers have the
    names of the modules, such as "layer1.0.conv1"; operators that a module calls itself are named
    by its path and the operator, such as "layer1.0.add" or "flatten", and the second use of a name
    is "name#2".

    Args:
        module: takes one tensor of floats (N, ...), on any device. What differs in training mode
            (dropout, batch norm) must be in evaluation mode.
        example: (N, *input_shape), any float dtype, values do not matter. The model takes samples
            of this shape, and batches of any size.
        output: the output or layer to explain; default: the module's first output. Outputs are
            called "output"; "output.0", "output.1" of a tuple; "output.key" of a dict.

    Raises:
        TypeError: module is no torch.nn.Module, or example no tensor of floats.
        ValueError: example has no batch axis or no axis beside it, or there is no such output.
        UnsupportedError: torch.export cannot trace the module, or an operator that relprop has no
            layer for; a ValueError too.
        ImportError: torch is older than 2.6.
    """
    loaded: Any = sys.modules.get("torch")  # never imported here: a module comes with it
    if loaded is None or not isinstance(module, loaded.nn.Module):
        kind = type(module).__name__
        raise TypeError(f"module is of type {kind}; accepted: a torch.nn.Module")
    if not isinstance(example, loaded.Tensor) or not example.is_floating_point():
        kind = str(getattr(example, "dtype", type(example).__name__))
        raise TypeError(f"example is of type {kind}; accepted: a torch tensor of floats")
    if example.ndim < 2 or 0 in example.shape[1:]:
        raise ValueError(
            f"example has shape {tuple(example.shape)}; accepted: (N, ...) with at least one axis "
            "beside the batch, of size 1 or more"
        )
    from relprop import _torch

    return Model(*_torch.build(module, example, output))


def accepted_shape(sample: tuple[int | None, ...]) -> str:
    """How messages write the shape of a batch: (N, 3, any, any)."""
    return f"({', '.join(['N', *('any' if s is None else str(s) for s in sample)])})"


def checked_threads(n_threads: int | None) -> int:
    """The engine's form of n_threads, where 0 is the default.

    Raises:
        TypeError, ValueError: neither None nor an int of at least 1.
    """
    return 0 if n_threads is None else checked_count(n_threads, "n_threads", " or None")


def checked_count(value: object, name: str, otherwise: str = "") -> int:
    """A number of threads or samples.

    Raises:
        TypeError, ValueError: not an int of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        kind = type(value).__name__
        raise TypeError(f"{name} is of type {kind}; accepted: an int{otherwise}")
    count = int(value.__index__())
    if not 1 <= count < 2**31:
        raise ValueError(f"{name} = {count}; accepted: 1 or more{otherwise and ',' + otherwise}")
    return count


def _compile(network: Network, how: How, samples: int) -> _core.Plan:
    core, nodes, output = network.core, network.nodes, network.output
    if how == "forward":
        return _core.Plan(core, output=output, forward_only=True, samples=samples)
    if how == "gradient":
        rules = [_core.Rule(how)] * len(nodes)
        return _core.Plan(core, rules, output=output, samples=samples)
    assignment = assign(how, nodes, output)
    plan = _core.Plan(core, assignment.rules, output=output, samples=samples)
    _check_folded(assignment, nodes, plan)
    return plan


def _check_folded(assignment: Assignment, nodes: list[Node], plan: _core.Plan) -> None:
    """A rule by name must not be lost because its only layer became part of another one."""
    alive: set[Any] = {layer["node"] for layer in plan.layers}
    for name, layers in assignment.named.items():
        if alive.isdisjoint(layers):
            layer, op = nodes[layers[0]][:2]
            raise ValueError(
                f"names: '{name}' fits '{layer}' ({op}), which is folded into the linear layer "
                "beside it; accepted: the name of that layer"
            )
