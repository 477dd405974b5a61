"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks import targets
from benchmarks.records import Record, Results

Rows = Iterable[Sequence[str]]

MIB = 2**20


def markdown(header: Sequence[str], rows: Rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time(seconds: float) -> str:
    """Three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            value = seconds / scale
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    raise AssertionError


BUSY = (
    "\n\nThe machine was busy with other work (load above twice its cores): times are too long, "
    "ratios uncertain."
)


def machine(results: Results) -> str:
    """One line per part, because parts can be run on different days."""
    rows = []
    for part, where in results.machines.items():
        versions = ", ".join(f"{name} {v}" for name, v in where["versions"].items())
        engine = where["relprop"]
        rows.append(
            [
                part,
                where["date"][:16].replace("T", " "),
                f"{where['processor']}, {where['cores']} cores, load {where['load']:.1f}",
                str(where["n_threads"]),
                engine["isa"],
                f"relprop {engine['version']} ({engine['compiler']}), Python {where['python']}, "
                f"{versions}",
            ]
        )
    busy = any(where["load"] > 2 * where["cores"] for where in results.machines.values())
    header = ["part", "date", "machine", "threads", "ISA", "versions"]
    return markdown(header, rows) + BUSY * busy


def target_table(results: Results) -> str:
    return markdown(["work", "target", "measured", "met"], targets.table(results))


def paired_rows(record: Record) -> Rows:
    """A row per contender; the ratio is relprop's time over that contender's."""
    subject = record.info["subject"]
    label = [record.info["title"], str(record.info["batch"]), record.info["task"]]
    for who in record.contenders:
        low, median, high = record.seconds(who)
        ratio = record.ratio(who, subject)
        error = record.info.get("errors", {}).get(who)
        yield [
            *label,
            who,
            time(median),
            f"{time(low)} – {time(high)}",
            str(sum(seconds is not None for seconds in record.info["seconds"][who])),
            "" if who == subject else f"{ratio.median:.3g} ({ratio.low:.3g} – {ratio.high:.3g})",
            "" if error is None else f"{error:.0e}",
        ]
        label = [""] * len(label)


PAIRED = [
    "network", "batch", "task", "engine", "median", "quartiles", "rounds",
    "relprop's time over it", "error",
]  # fmt: skip


def paired(part: str) -> Callable[[Results], str]:
    return lambda results: markdown(
        PAIRED,
        [row for record in results.of(part, "seconds") for row in paired_rows(record)],
    )


def kernels(results: Results) -> str:
    rows = [
        [
            row["kernel"],
            row["layer"],
            row["mode"],
            f"{row['density']:.2f}",
            f"{row['gflops']:.0f}",
            f"{100 * row['share']:.0f} %",
            f"{100 * row['done']:.0f} %",
        ]
        for record in results.of("kernels", "rows")
        for row in record.info["rows"]
    ]
    header = [
        "kernel", "layer", "product", "non-zero", "GFLOP/s", "of the peak", "executed, of the peak",
    ]  # fmt: skip
    return markdown(header, rows)


def layers(results: Results) -> str:
    rows = []
    for record in results.of("layers", "rows"):
        title, peak = record.info["title"], record.info["limits"]["fma_gflops"]
        for row in record.info["rows"]:
            cells = [title, row["layer"], f"{row['operations'] / row['bytes']:.3g}"]
            for key in ("onnxruntime forward", "forward", "backward"):
                rate = row["operations"] / row["seconds"][key] / 1e9
                share = f", {100 * rate / peak:.0f} %" if peak else ""
                cells.append(f"{time(row['seconds'][key])} ({rate:.0f}{share})")
            rows.append([*cells, row["kernels"]["forward"], row["kernels"]["backward"]])
            title = ""
    header = [
        "network", "layer", "FLOP/byte", "ONNX Runtime (GFLOP/s, of the peak)", "forward",
        "backward", "forward kernel", "backward kernel",
    ]  # fmt: skip
    return markdown(header, rows)


def memory(results: Results) -> str:
    rows = []
    for record in results.of("memory", "bytes"):
        weights = record.info["weight_bytes"]
        for who, found in record.info["bytes"].items():
            cells = [weights, found["ready"], found["peak"], found["peak"] - weights]
            sizes = [f"{value / MIB:.0f}" for value in cells]
            rows.append([record.info["title"], str(record.info["batch"]), who, *sizes])
    header = [
        "network", "batch", "engine", "weights, MiB", "held after a pass", "peak",
        "peak above the weights",
    ]  # fmt: skip
    return markdown(header, rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "targets": target_table,
    "networks": paired("networks"),
    "latency": paired("latency"),
    "maximize": paired("maximize"),
    "dropin": paired("dropin"),
    "scaling": paired("scaling"),
    "compile": paired("compile"),
    "kernels": kernels,
    "layers": layers,
    "memory": memory,
}
