"""Small inline SVG charts. Colours and fonts are in style.css."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from page import Doubles, Floats, number


def class_bars(logits: Floats, probability: Doubles, predicted: int, scale: float) -> str:
    """A logit per class as a bar up or down from zero; scale is the largest |logit| of all."""
    pitch, zero, up, down = 16, 40, 36, 20
    parts = []
    for c, (logit, p) in enumerate(zip(logits.tolist(), probability.tolist(), strict=True)):
        height = up * abs(logit) / scale
        top = zero - height if logit > 0 else zero
        kind = "best" if c == predicted else "other"
        parts.append(
            f"<g class='{kind}'><title>class {c}: f = {number(logit)}, p = {number(p, 4)}</title>"
            f"<rect x='{c * pitch + 2}' y='{top:.1f}' width='{pitch - 4}' height='{height:.1f}'/>"
            f"<text x='{c * pitch + pitch / 2:g}' y='{zero + down + 12}'>{c}</text></g>"
        )
    width, height = 10 * pitch, zero + down + 16
    return (
        f"<svg class='bars' viewBox='0 0 {width} {height}' role='img' "
        f"aria-label='logits; the largest is that of class {predicted}'>"
        f"<line x1='0' x2='{width}' y1='{zero}' y2='{zero}'/>{''.join(parts)}</svg>"
    )


def flow(stages: Sequence[str], lines: Mapping[str, Sequence[float]]) -> str:
    """How much of f(x) is left at each stage, in percent: one line per method."""
    left, right, top, bottom = 46, 700, 14, 190
    values = [value for line in lines.values() for value in line]
    # Gridlines every 50 %, from 0 or what lies below it, to above the largest.
    low = 50 * int(np.floor(min(0, *values) / 50))
    high = 50 * int(np.ceil(max(100, *values) / 50))

    def x_of(index: int) -> float:
        return left + (right - left) * index / (len(stages) - 1)

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts = []
    for level in range(low, high + 1, 50):
        kind = "whole" if level == 100 else "grid"
        y = y_of(level)
        parts.append(f"<line class='{kind}' x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}'/>")
        parts.append(
            f"<text class='level' x='{left - 8}' y='{y + 4:.1f}'>{number(level, 0)} %</text>"
        )
    for index, stage in enumerate(stages):
        parts.append(f"<text x='{x_of(index):.1f}' y='{bottom + 20}'>{escape(stage)}</text>")
    names = _apart([y_of(line[-1]) for line in lines.values()], 16)
    for order, (title, line) in enumerate(lines.items()):
        points = " ".join(f"{x_of(i):.1f},{y_of(v):.1f}" for i, v in enumerate(line))
        parts.append(
            f"<g class='line{order}'><polyline points='{points}'/>"
            f"<text class='name' x='{right + 10}' y='{names[order] + 4:.1f}'>{escape(title)}</text>"
            "</g>"
        )
    return (
        f"<svg class='flow' viewBox='0 0 {right + 120} {bottom + 30}' role='img' "
        f"aria-label='relevance left at each layer'>{''.join(parts)}</svg>"
    )


def _apart(wanted: Sequence[float], distance: float) -> list[float]:
    """The same positions in the same order, moved down until they are this far apart."""
    placed = [0.0] * len(wanted)
    last = -np.inf
    for index in np.argsort(wanted):
        last = max(wanted[index], last + distance)
        placed[index] = last
    return placed
