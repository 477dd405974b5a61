"""The big products on convolutions of VGG-16 and ResNet-50, one thread, made-up data.

The program checks nothing; the test of the same kernels against their definition runs first, but
with --fast-rivals. A rate counts the operations of one dense product, whatever the kernel executes.
"""

from __future__ import annotations

import re
from typing import Any

from benchmarks import machine
from benchmarks.bench import Bench
from relprop import info

LINE = re.compile(
    r"(?P<kernel>skip|partition|matrix|planar|dense) +(?P<layer>\S+ \S+) +(?P<mode>.*?) +"
    r"density +(?P<density>[\d.]+) +(?P<ms>[\d.]+) ms +(?P<gflops>[\d.]+) GFLOP/s +"
    r"share +(?P<share>[\d.]+)"
)
# Multiply-adds that zero-skipping executes for each that a dense product has, if no input is zero.
PRODUCTS = {"split_product a >= 0": 2, "split_product": 2, "blend": 2, "blend_both": 4, "plain": 1}


def rows_of(text: str) -> list[dict[str, Any]]:
    """The program's lines; "done" is the share of the FMA peak by multiply-adds executed.

    Raises:
        ValueError: there are none.
    """
    rows = []
    for found in LINE.finditer(text):
        row: dict[str, Any] = found.groupdict()
        row |= {key: float(row[key]) for key in ("density", "ms", "gflops", "share")}
        skips = row["kernel"] == "skip"
        row["done"] = row["share"] * (row["density"] * PRODUCTS[row["mode"]] if skips else 1)
        rows.append(row)
    if not rows:
        raise ValueError(f"no line of bench_kernels is understood:\n{text[:500]}")
    return rows


def bench_split_products(bench: Bench) -> None:
    if not bench.fast_rivals:
        machine.program("test_contractions")
    repetitions = "3" if bench.fast_rivals else "25"
    arguments = (info()["isa"], "", repetitions)
    bench.record(rows=bench.once(lambda: rows_of(machine.program("bench_kernels", *arguments))))
