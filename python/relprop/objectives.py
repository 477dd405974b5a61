"""What a prototype is to make large: a class, a neuron, a channel or a layer.

Sources: G. Montavon, W. Samek, K.-R. Müller, "Methods for interpreting and understanding deep
neural networks", 2017, section 3.1; C. Olah, A. Mordvintsev, L. Schubert, "Feature visualization",
2017, for neurons, channels and layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relprop.model import Network

__all__ = ["Channel", "Layer", "LogProbability", "Logit", "Neuron", "Objective"]

# (node, kind, index) in the engine's terms.
Resolved = tuple[int, str, int]


@dataclass(frozen=True)
class Objective:
    """What all objectives share: they are resolved against a network."""

    def resolve(self, network: Network) -> Resolved:
        """The node, the kind and the index in the engine's terms.

        Raises:
            ValueError: the network has no such layer, class or position.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class LogProbability(Objective):
    """log p(w_c|x) = f_c - log Σ_k exp f_k of the model's output f, before a softmax at its end.

    Args:
        target: the class c.
    """

    target: int

    def resolve(self, network: Network) -> Resolved:
        """See `Objective.resolve`."""
        return _class(network, self.target, "log_probability")


@dataclass(frozen=True)
class Logit(Objective):
    """f_c of the model's output, before a softmax at its end.

    Args:
        target: the class c.
    """

    target: int

    def resolve(self, network: Network) -> Resolved:
        """See `Objective.resolve`."""
        return _class(network, self.target, "neuron")


@dataclass(frozen=True)
class Neuron(Objective):
    """One value of a layer's output.

    Args:
        layer: its name, as in `Model.layers`.
        index: an int for layers with one axis or one position, otherwise a tuple, (c, y, x).
    """

    layer: str
    index: int | tuple[int, ...]

    def resolve(self, network: Network) -> Resolved:
        """See `Objective.resolve`."""
        node = _node(network, self.layer)
        shape = network.nodes[node][3]
        index = self.index if isinstance(self.index, Sequence) else (self.index,)
        if len(index) == 1:
            index = (*index, *(0 for size in shape[1:] if size == 1))
        if len(index) != len(shape):
            raise ValueError(
                f"Neuron: index {self.index} for layer '{self.layer}' of shape {shape}; "
                f"accepted: {len(shape)} ints"
            )
        flat = 0
        for axis, (position, size) in enumerate(zip(index, shape, strict=True)):
            what = f"Neuron: index on axis {axis} of layer '{self.layer}'"
            flat = flat * size + _checked(position, size, what)
        return node, "neuron", flat


@dataclass(frozen=True)
class Channel(Objective):
    """The mean of one channel of a layer's output over all its positions.

    Args:
        layer: its name.
        channel: the index along the first axis.
    """

    layer: str
    channel: int

    def resolve(self, network: Network) -> Resolved:
        """See `Objective.resolve`."""
        node = _node(network, self.layer)
        count = network.nodes[node][3][0]
        what = f"Channel: channel of layer '{self.layer}'"
        return node, "channel", _checked(self.channel, count, what)


@dataclass(frozen=True)
class Layer(Objective):
    """The mean of the squares of all values of a layer's output (DeepDream).

    Args:
        layer: its name.
    """

    layer: str

    def resolve(self, network: Network) -> Resolved:
        """See `Objective.resolve`."""
        return _node(network, self.layer), "layer", 0


def _class(network: Network, target: int, kind: str) -> Resolved:
    shape = network.output_shape
    label = f"output '{network.output_name}'"
    if any(size != 1 for size in shape[1:]):
        raise ValueError(
            f"{label} has shape {shape} per sample, not classes; accepted: "
            "rp.objectives.Neuron, Channel or Layer"
        )
    index = _checked(target, shape[0], f"{label}: target")
    return network.core.logits_node(network.output), kind, index


def _node(network: Network, name: str) -> int:
    if not isinstance(name, str):
        raise TypeError(f"layer is of type {type(name).__name__}; accepted: a layer's name")
    node = network.core.find(name)
    if node == 0:
        raise ValueError(f"layer '{name}' is the input; accepted: a layer behind it")
    return network.core.logits_node(node)


def _checked(index: object, size: int, what: str) -> int:
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise TypeError(f"{what} is of type {type(index).__name__}; accepted: an int")
    value = int(index.__index__())
    if not 0 <= value < size:
        raise ValueError(f"{what} = {value}; accepted: 0 to {size - 1}")
    return value
