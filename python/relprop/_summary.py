"""Tables of layers as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relprop import _core
from relprop.composites import upstream

if TYPE_CHECKING:
    from relprop.model import Network

_RIGHT = frozenset({"parameters", "million products"})


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, columns of numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for name, cell, width in zip(header, cells, widths, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), *map(line, rows)])


def summary(network: Network, plan: _core.Plan) -> str:
    """One line per layer of the network, as the plan runs it, and totals."""
    header = [
        "layer", "op", "output", "parameters", "million products", "rule", "forward", "backward",
    ]  # fmt: skip
    compiled: dict[int, dict[str, Any]] = {layer["node"]: layer for layer in plan.layers}
    rows = []
    for index in upstream(network.nodes, network.output):
        name, op, _, shape = network.nodes[index]
        layer = compiled.get(index, {})
        products = layer.get("multiply_adds", 0)
        rows.append(
            [
                name,
                op,
                "x".join(map(str, shape)),
                f"{layer['parameters']:,}" if layer.get("parameters") else "",
                f"{products / 1e6:.2f}" if products else "",
                *(layer.get(key, "") for key in ("rule", "forward", "backward")),
            ]
        )
    total = sum(layer["multiply_adds"] for layer in plan.layers)
    return (
        f"{table(header, rows)}\n\n"
        f"{network.core.parameter_count:,} parameters, {total / 1e6:,.1f} million products per "
        f"sample, input {math.prod(network.nodes[0][3]):,} values, "
        f"output '{network.output_name}', instruction set {plan.isa}, "
        f"weights {plan.weight_bytes / 2**20:.1f} MiB, "
        f"workspace {plan.workspace_bytes / 2**20:.1f} MiB per sample"
    )
