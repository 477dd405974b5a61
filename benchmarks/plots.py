"""Results as plots: bars by rival, time against batch, roofline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.records import NotMeasuredError, Record, Results
from benchmarks.targets import NAMES, ORT, TITLES

OURS, THEIRS = "#c8102e", "#8a93a0"
LEFT = 0.5  # where bars begin on their logarithmic axis
BARS = ("vgg", "resnet", "squeezenet", "efficientnet")


def largest_batch(results: Results, case: str) -> Record | None:
    found = [
        record
        for record in results.of("networks", "seconds")
        if (record.info["case"], record.info["task"]) == (case, "alpha2_beta1")
    ]
    return max(found, key=lambda record: record.info["batch"], default=None)


def rivals(results: Results, axes: Any) -> None:
    """α2β1 heatmaps in forward passes of ONNX Runtime, by engine."""
    labels: dict[float, str] = {}
    at = 0.0
    for case in BARS:
        record = largest_batch(results, case)
        if record is None:
            continue
        title = f"{TITLES[case]}, batch {record.info['batch']}"
        axes.text(LEFT, at, title, va="center", fontsize=8, weight="bold")
        for who in record.contenders:
            if who == ORT:
                continue
            at += 1
            value = record.ratio(ORT, who).median
            axes.barh(at, value - LEFT, left=LEFT, color=OURS if who == "relprop" else THEIRS)
            axes.text(value * 1.05, at, f"{value:.2g}", va="center", fontsize=8)
            labels[at] = who
        at += 1.5
    if not labels:
        raise NotMeasuredError("networks: heatmaps")
    axes.set_yticks(list(labels), list(labels.values()), fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left=LEFT)
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("α2β1 heatmap, in forward passes of ONNX Runtime", fontsize=8)


def batches(results: Results, axes: Any) -> None:
    """Time per image of VGG-16 against the batch."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for record in results.of("scaling", "seconds"):
        if record.name.startswith("bench_batch"):
            batch = record.info["batch"]
            for who in record.contenders:
                lines.setdefault(who, []).append((batch, record.seconds(who).median / batch))
    for who, points in sorted(lines.items()):
        x, y = zip(*sorted(points), strict=True)
        ours = who == "relprop"
        axes.plot(x, y, marker="o", label=who, color=OURS if ours else None)
    if not lines:
        raise NotMeasuredError("scaling: batches")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch", fontsize=8)
    axes.set_ylabel("seconds per image", fontsize=8)
    axes.legend(fontsize=8)


def roofline(results: Results, axes: Any) -> None:
    """Each layer of VGG-16: operations of one dense product per second against those per byte."""
    record = results.find("layers", case="vgg")
    limits, rows = record.info["limits"], record.info["rows"]
    intensity = np.array([row["operations"] / row["bytes"] for row in rows])
    span = np.geomspace(intensity.min() / 2, intensity.max() * 2)
    roof = limits["memory_gbs"] * span
    if limits["fma_gflops"]:
        roof = np.minimum(roof, limits["fma_gflops"])
    axes.plot(span, roof, color="black", linewidth=0.8)
    marks = {"forward": ("o", OURS), "backward": ("s", "#1f77b4"), ORT: ("x", THEIRS)}
    for key, (marker, color) in marks.items():
        rates = [row["operations"] / row["seconds"][key] / 1e9 for row in rows]
        label = key if key == ORT else f"relprop {key}, {NAMES['alpha2_beta1']}"
        axes.scatter(intensity, rates, marker=marker, color=color, s=18, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte, of one dense product", fontsize=8)
    axes.set_ylabel("GFLOP/s, of one dense product", fontsize=8)
    axes.legend(fontsize=8)


PLOTS: dict[str, tuple[Callable[[Results, Any], None], tuple[float, float]]] = {
    "rivals": (rivals, (6.4, 4.4)),
    "batches": (batches, (5.0, 3.2)),
    "roofline": (roofline, (5.0, 3.6)),
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Writes those plots whose figures are there, and returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, (plot, size) in PLOTS.items():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        try:
            plot(results, axes)
        except NotMeasuredError:
            continue
        file = folder / f"{name}.png"
        figure.savefig(file, dpi=110)
        files.append(file)
    return files
