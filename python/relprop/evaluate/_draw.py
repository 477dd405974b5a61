"""Curves as pictures. Needs matplotlib: ``pip install relprop[plot]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relprop.evaluate._compare import Report, Row

# Inches of a panel.
WIDTH, HEIGHT = 4.2, 3.4


def save(report: Report, path: str | Path) -> None:
    """Writes one panel per region size and fill; most relevant first solid, least first dashed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing curves needs matplotlib: pip install relprop[plot]") from error
    panels: dict[tuple[str, int], list[Row]] = {}
    for row in report.rows:
        panels.setdefault((row.fill, row.region), []).append(row)
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, ((fill, region), rows) in zip(axes, panels.items(), strict=False):
        axis.set_title(f"fill {fill}, regions of {region}", fontsize="medium")
        _panel(axis, rows)
        axis.set_ylabel(report.score)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle("solid: most relevant first, dashed: least relevant first", fontsize="small")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="x-small")
    figure.savefig(path, dpi=120, format="png", metadata={"Software": None})


def _panel(axis: Any, rows: list[Row]) -> None:
    baseline, *methods = rows
    axis.plot(100 * baseline.most.removed, baseline.most.mean, ":k", label=baseline.method)
    for number, row in enumerate(methods):
        colour = f"C{number}"
        axis.plot(100 * row.most.removed, row.most.mean, colour, label=row.method)
        axis.plot(100 * row.least.removed, row.least.mean, "--", color=colour, linewidth=0.8)
    axis.set_xlabel("% of the regions removed")
