"""Where relevance went, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from relprop._summary import table


@dataclass(frozen=True)
class LayerConservation:
    """One layer's account, summed over the samples and targets of the call.

    relevance_out arrived at the layer's output, relevance_in left it towards its inputs. Of the
    difference, `bias` was absorbed by the bias, `epsilon` by the stabilizer, and `zero` was lost
    where a denominator was exactly zero. `rest` is what is unexplained: rounding, and values that
    a layer crops away.
    """

    name: str
    op: str
    relevance_out: float
    relevance_in: float
    bias: float
    epsilon: float
    zero: float

    @property
    def rest(self) -> float:
        """What is left of the difference."""
        return self.relevance_out - self.relevance_in - self.bias - self.epsilon - self.zero


@dataclass(frozen=True)
class Conservation:
    """The accounts of all layers, from the output to the input.

    start is the relevance that the propagation started with, input what arrived at the network's
    input; both are sums over the samples and targets of the call. Between two layers only masks
    take relevance away.
    """

    layers: tuple[LayerConservation, ...]
    start: float
    input: float

    @property
    def bias(self) -> float:
        """What all biases absorbed."""
        return sum(layer.bias for layer in self.layers)

    @property
    def epsilon(self) -> float:
        """What all stabilizers absorbed."""
        return sum(layer.epsilon for layer in self.layers)

    @property
    def zero(self) -> float:
        """What was lost at denominators that are exactly zero."""
        return sum(layer.zero for layer in self.layers)

    def __str__(self) -> str:
        columns = ("relevance_out", "relevance_in", "bias", "epsilon", "zero", "rest")
        header = ["layer", "op", "out", "in", *columns[2:]]
        rows = [
            [layer.name, layer.op, *(f"{getattr(layer, column):.6g}" for column in columns)]
            for layer in self.layers
        ]
        total = self.start - self.input - self.bias - self.epsilon - self.zero
        sums = (self.start, self.input, self.bias, self.epsilon, self.zero, total)
        rows.append(["total", "", *(f"{value:.6g}" for value in sums)])
        return table(header, rows)
