"""The targets of the project, and what a run measured of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.records import NotMeasuredError, Results

ORT = "onnxruntime forward"
FORWARD = "× ONNX Runtime forward"
AVX2_ALLOWANCE = 1.25  # times the limits that are forward passes


@dataclass(frozen=True)
class Target:
    """value: of a run, in the unit of the limit; NotMeasuredError where it has none."""

    work: str
    limit: float
    unit: str
    value: Callable[[Results], float]
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, value: float) -> str:
        if self.unit == "%":
            return f"{100 * value:.0f} %"
        if self.unit == "µs":
            return f"{1e6 * value:.0f} µs"
        if self.unit == "s":
            return f"{value:.2f} s"
        return f"{value:.2f} {self.unit}".rstrip()

    @property
    def goal(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.text(self.limit)}"

    def row(self, results: Results) -> tuple[str, str, str, str]:
        """work, target, measured, whether it is met."""
        try:
            value = self.value(results)
        except NotMeasuredError:
            return self.work, self.goal, "not run", ""
        return self.work, self.goal, self.text(value), "yes" if self.met(value) else "**no**"


def over(other: str, case: str, batch: int, task: str) -> Callable[[Results], float]:
    """relprop's time over another's, the median of the rounds."""

    def value(results: Results) -> float:
        part = "latency" if case in ("lenet", "perceptron") else "networks"
        return results.find(part, case=case, batch=batch, task=task).ratio(other).median

    return value


def below_gradient(task: str) -> Target:
    return Target(
        f"VGG-16, random weights, batch 8, {NAMES[task]}",
        1,
        "× torch gradient",
        over("torch gradient", "vgg_random", 8, task),
    )


def times_faster(part: str, other: str, **which: Any) -> Callable[[Results], float]:
    return lambda results: 1 / results.find(part, **which).ratio(other).median


def drop_in(network: str, title: str, task: str) -> Target:
    return Target(
        f"{title}, batch 8, script for {task.replace('_', ' ')}",
        5,
        "×",
        times_faster("dropin", task.split()[0], case=network, task=task),
        at_least=True,
    )


SCRIPTS = ("zennit epsilon_plus", "zennit epsilon_alpha2_beta1_flat", "captum epsilon")
NAMES = {
    "alpha2_beta1": "α2β1",
    "alpha1_beta0": "α1β0",
    "gradient": "gradient",
    "forward": "forward",
}
TITLES = {
    "vgg": "VGG-16 base, trained weights",
    "vgg_random": "VGG-16, random weights",
    "resnet": "ResNet-50, random weights",
    "squeezenet": "SqueezeNet 1.1",
    "efficientnet": "EfficientNet-Lite0",
}
# Limits of relprop's time over that of ONNX Runtime's forward pass. At batch 1 a ratio may be 20 %
# above that of batch 8.
FORWARD_PASSES = [
    ("vgg", 8, "alpha2_beta1", 1.25),
    ("vgg", 8, "alpha1_beta0", 1.15),
    ("vgg_random", 8, "alpha2_beta1", 2.2),
    ("vgg_random", 8, "alpha1_beta0", 1.7),
    ("vgg", 1, "alpha2_beta1", 1.25 * 1.2),
    ("vgg", 1, "alpha1_beta0", 1.15 * 1.2),
    ("vgg_random", 1, "alpha2_beta1", 2.2 * 1.2),
    ("vgg_random", 1, "alpha1_beta0", 1.7 * 1.2),
    ("resnet", 8, "alpha2_beta1", 2.5),
    ("resnet", 8, "alpha1_beta0", 2.0),
    ("squeezenet", 1, "alpha2_beta1", 3),
    ("squeezenet", 8, "alpha2_beta1", 3),
    ("efficientnet", 1, "alpha2_beta1", 3),
    ("efficientnet", 8, "alpha2_beta1", 3),
    ("vgg", 8, "gradient", 1.25),
    ("vgg", 8, "forward", 0.9),
    ("vgg_random", 8, "forward", 1.2),
]


def latency(case: str) -> Callable[[Results], float]:
    return lambda results: results.find("latency", case=case).seconds().median


def bandwidth_share(results: Results) -> float:
    record = results.find("latency", case="perceptron")
    rate = record.info["read_bytes"] / record.seconds().median
    return float(rate / (1e9 * record.info["limits"]["read_gbs"]))


def kernel_rows(results: Results, **wanted: Any) -> Iterable[dict[str, Any]]:
    rows = [
        row
        for record in results.of("kernels", "rows")
        for row in record.info["rows"]
        if row["layer"].startswith("conv") and all(row[k] == v for k, v in wanted.items())
    ]
    if not rows:
        raise NotMeasuredError(f"kernels: {wanted}")
    return rows


# The products that the networks use: inputs are behind a ReLU or an image's.
USED = ("split_product a >= 0", "blend")


def sign_share(results: Results) -> float:
    """Of the product that takes dense sources, and the layer where it is least."""
    kernel = "matrix" if results.isa == "amx" else "partition"
    rows = kernel_rows(results, kernel=kernel, density=1.0)
    return min(row["share"] for row in rows if row["mode"] in USED)


def skip_share(results: Results) -> float:
    rows = kernel_rows(results, kernel="skip")
    return min(r["done"] for r in rows if r["density"] >= 0.3 and r["mode"] in USED)


def speedup(batch: int) -> Callable[[Results], float]:
    def value(results: Results) -> float:
        record = next(
            (
                r
                for r in results.of("scaling")
                if r.info.get("batch") == batch and "relprop, 1 thread" in r.contenders
            ),
            None,
        )
        if record is None:
            raise NotMeasuredError(f"threads, batch {batch}")
        return 1 / record.ratio("relprop, 1 thread", record.info["subject"]).median

    return value


def memory_share(results: Results) -> float:
    record = results.find("memory", case="vgg", batch=8)
    ours, zennit = (record.info["bytes"][who]["peak"] for who in ("relprop", "zennit"))
    return float((ours - record.info["weight_bytes"]) / (zennit - record.info["weight_bytes"]))


def compile_seconds(results: Results) -> float:
    return results.find("compile", case="vgg_random").seconds().median


TARGETS = [
    *(
        Target(
            f"{TITLES[case]}, batch {batch}, {NAMES[task]}",
            limit,
            FORWARD,
            over(ORT, case, batch, task),
        )
        for case, batch, task, limit in FORWARD_PASSES
    ),
    below_gradient("alpha2_beta1"),
    below_gradient("alpha1_beta0"),
    Target("LeNet-5, one digit, α2β1, from Python", 60e-6, "µs", latency("lenet")),
    Target(
        "the same, times faster than Zennit",
        100,
        "×",
        lambda results: 1 / over("zennit", "lenet", 1, "alpha2_beta1")(results),
        at_least=True,
    ),
    Target(
        "MLP 784-1296-1296-1296-10, one digit, α2β1: of the read bandwidth",
        0.85,
        "%",
        bandwidth_share,
        at_least=True,
    ),
    Target(
        "sums by sign of dense sources: of the FMA peak, worst layer of VGG-16",
        0.85,
        "%",
        sign_share,
        at_least=True,
    ),
    Target(
        "zero-skipping product, ≥ 30 % non-zero: of the FMA peak, worst layer of VGG-16",
        0.75,
        "%",
        skip_share,
        at_least=True,
    ),
    Target("all threads against one, batch 8", 1.85, "×", speedup(8), at_least=True),
    Target("all threads against one, one image", 1.7, "×", speedup(1), at_least=True),
    Target(
        "peak memory above the weights, VGG-16 base, batch 8, α2β1",
        1 / 3,
        "× Zennit",
        memory_share,
    ),
    Target("compiling VGG-16 for α2β1", 1, "s", compile_seconds),
    Target(
        "ten prototypes on LeNet-5, times faster than a torch loop",
        10,
        "×",
        times_faster("maximize", "torch loop", case="lenet"),
        at_least=True,
    ),
    Target(
        "four prototypes on SqueezeNet 1.1, times faster than a torch loop",
        1,
        "×",
        times_faster("maximize", "torch loop", case="squeezenet"),
        at_least=True,
    ),
    *(
        drop_in(network, title, task)
        for network, title in (("vgg16", "VGG-16"), ("resnet50", "ResNet-50"))
        for task in SCRIPTS
    ),
]


def for_isa(target: Target, isa: str) -> Target:
    allowed = isa == "avx2" and target.unit == FORWARD
    return replace(target, limit=target.limit * AVX2_ALLOWANCE) if allowed else target


def table(results: Results) -> list[tuple[str, str, str, str]]:
    return [for_isa(target, results.isa).row(results) for target in TARGETS]
