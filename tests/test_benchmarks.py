"""The benchmark suite: its figures and texts, on made-up times. Nothing is timed here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ROOT, compare, report, stats, tables, targets
from benchmarks.agreement import check
from benchmarks.bench_kernels import rows_of
from benchmarks.paired import MOST, Contender, Turns
from benchmarks.records import NotMeasuredError, Record, Results, load

ORT = targets.ORT


def record(part: str, seconds: dict[str, list[float | None]], **info: Any) -> Record:
    return Record(part, f"bench_{part}", {"subject": "relprop", "seconds": seconds, **info})


def test_ratios_are_of_the_same_round() -> None:
    assert stats.paired_ratios([1, 2, None, 9], [2, None, 4, 3]) == [0.5, 3]
    with pytest.raises(ValueError, match="zip"):
        stats.paired_ratios([1.0], [1.0, 2.0])


def test_quartiles_leave_absent_rounds_out() -> None:
    assert stats.quartiles([3, None, 1, 2, None]) == (1.5, 2, 2.5)
    with pytest.raises(ValueError, match="no values"):
        stats.quartiles([None])


@pytest.mark.parametrize(("n", "k"), [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (20, 6), (25, 8)])
def test_median_interval_is_the_sign_tests(n: int, k: int) -> None:
    """k as in tables of the sign test (Conover, Practical Nonparametric Statistics)."""
    values = [float(v) for v in np.random.default_rng(n).permutation(n)]
    assert stats.median_interval(values) == (k - 1, n - k)


def test_median_interval_covers_the_median() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(2000):
        low, high = stats.median_interval(list(rng.exponential(size=10)))
        missed += not low <= math.log(2) <= high
    exact = 2 * 11 / 2**10  # ten values: [x_(2), x_(9)]
    assert abs(missed / 2000 - exact) < 4 * math.sqrt(exact / 2000)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_values_give_no_interval(n: int) -> None:
    with pytest.raises(ValueError, match=f"^{n} values"):
        stats.median_interval([1.0] * n)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99, stats.joint(0.95, 8)])
def test_the_least_number_of_values(confidence: float) -> None:
    least = stats.least_values(confidence)
    assert stats.median_interval([1.0] * least, confidence) == (1, 1)
    with pytest.raises(ValueError, match="do not give an interval"):
        stats.median_interval([1.0] * (least - 1), confidence)


def test_verdicts() -> None:
    assert stats.verdict([0.9, 0.95, 0.92, 0.97, 0.96, 0.91, 0.93]) == "faster"
    assert stats.verdict([1.1, 1.05, 1.02, 1.07, 1.06, 1.01, 1.03]) == "slower"
    # One round of seven the other way: not enough.
    assert stats.verdict([0.9, 0.95, 0.92, 0.97, 0.96, 0.91, 1.01]) == "inside the noise"
    assert stats.verdict([1.0] * 7) == "inside the noise"
    # Seven rounds are too few for one row among eight.
    with pytest.raises(ValueError, match="do not give an interval"):
        stats.verdict([0.9] * 7, stats.joint(0.95, 8))


def test_everyone_takes_a_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr("benchmarks.paired.PAUSE", 0)

    def contender(name: str, rounds: int) -> Contender:
        def run() -> Any:
            order.append(name)

        return Contender(name, "forward", run, rounds=rounds)

    subject, rivals = contender("s", 3), [contender("a", 3), contender("b", 2)]
    turns = Turns(subject, rivals)
    for _ in range(3):
        turns.before()
        subject.block()
        turns.after()
    assert "".join(order) == "sab" + "bas" + "sa"
    assert [len(rival.seconds) for rival in rivals] == [3, 3]
    assert rivals[1].seconds[2] is None


def test_short_calls_are_timed_in_blocks() -> None:
    calls: list[None] = []
    one = Contender("s", "forward", lambda: calls.append(None) or np.zeros(1))
    one.warm_up(budget=100)
    assert one.calls > 10
    assert one.rounds == MOST
    before = len(calls)
    one.block()
    assert len(calls) - before == one.calls


def test_deviating_results_end_a_benchmark() -> None:
    expected = np.ones((2, 4))
    assert check("x", "forward", np.ones((3, 4)), expected) == 0
    with pytest.raises(AssertionError, match="x, forward: deviates"):
        check("x", "forward", np.full((2, 4), 1.001), expected)
    one_bad = np.array([[1.0] * 4, [1.1] * 4, [1.0] * 4])
    with pytest.raises(AssertionError):
        check("x", "alpha2_beta1", one_bad, np.ones((3, 4)))
    with pytest.raises(AssertionError):
        check("x", "forward", np.full((2, 4), np.nan), expected)


def a_run(isa: str = "avx512") -> Results:
    """relprop needs 1.2 times ONNX Runtime's forward pass for one heatmap and 1.4 for another."""
    vgg = {"case": "vgg", "title": "VGG", "batch": 8}
    records = [
        record(
            "networks", {"relprop": [1.2, 2.4, 1.2], ORT: [1, 2, 1]}, task="alpha2_beta1", **vgg
        ),
        record(
            "networks", {"relprop": [1.4, 2.8, None], ORT: [1, 2, 9]}, task="alpha1_beta0", **vgg
        ),
        record(
            "memory",
            {},
            bytes={"relprop": {"peak": 30}, "zennit": {"peak": 110}},
            weight_bytes=10,
            **vgg,
        ),
    ]
    return Results(isa, {}, records)


def test_targets_say_what_is_met_and_what_was_not_run() -> None:
    met = {work: (goal, value, yes) for work, goal, value, yes in targets.table(a_run())}
    unit = "× ONNX Runtime forward"
    first = met["VGG-16 base, trained weights, batch 8, α2β1"]
    assert first == (f"≤ 1.25 {unit}", f"1.20 {unit}", "yes")
    assert met["VGG-16 base, trained weights, batch 8, α1β0"][1:] == (f"1.40 {unit}", "**no**")
    assert met["compiling VGG-16 for α2β1"] == ("≤ 1.00 s", "not run", "")
    assert met["LeNet-5, one digit, α2β1, from Python"][0] == "≤ 60 µs"
    memory = met["peak memory above the weights, VGG-16 base, batch 8, α2β1"]
    assert memory == ("≤ 0.33 × Zennit", "0.20 × Zennit", "yes")


def test_forward_passes_have_an_allowance_with_avx2() -> None:
    goals = {work: (goal, yes) for work, goal, _, yes in targets.table(a_run("avx2"))}
    unit = "× ONNX Runtime forward"
    assert goals["VGG-16 base, trained weights, batch 8, α2β1"] == (f"≤ 1.56 {unit}", "yes")
    assert goals["VGG-16 base, trained weights, batch 8, α1β0"] == (f"≤ 1.44 {unit}", "yes")
    memory, _ = goals["peak memory above the weights, VGG-16 base, batch 8, α2β1"]
    assert memory == "≤ 0.33 × Zennit"


def test_at_least_and_at_most() -> None:
    assert targets.Target("", 2, "×", lambda _: 0, at_least=True).met(2.1)
    assert not targets.Target("", 2, "×", lambda _: 0, at_least=True).met(1.9)
    assert targets.Target("", 2, "×", lambda _: 0).met(1.9)


def test_every_target_has_its_own_line() -> None:
    works = [target.work + target.unit for target in targets.TARGETS]
    assert len(set(works)) == len(works) > 20


def test_what_was_not_timed_is_an_error() -> None:
    with pytest.raises(NotMeasuredError):
        a_run().find("networks", case="vgg", batch=1)
    with pytest.raises(NotMeasuredError):
        a_run().find("networks", batch=8).ratio("zennit")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.23 s"), (0.0456, "45.6 ms"), (61.3e-6, "61.3 µs"), (0.5, "500 ms")],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert tables.time(seconds) == text


def test_tables_are_put_between_their_marks() -> None:
    other = "<!-- table: targets avx512 -->\n<!-- end -->\n"
    text = f"a\n<!-- table: targets -->\nold\n<!-- end -->\nb\n{other}"
    filled = report.fill(text, {"avx2": a_run("avx2")}, "avx2")
    assert "old" not in filled
    assert "| 1.20 × ONNX Runtime forward | yes |" in filled
    assert filled.startswith("a\n<!-- table: targets -->\n| work |")
    assert filled.endswith(f"b\n{other}")
    assert report.fill(filled, {"avx2": a_run("avx2")}, "avx2") == filled


def test_pictures_that_were_not_drawn_are_not_linked() -> None:
    text = "<!-- plot: rivals -->\n<!-- end -->\n<!-- plot: batches -->\nold\n<!-- end -->\n"
    shown = report.show_plots(text, {"rivals"})
    assert "![α2β1 heatmaps in forward passes of ONNX Runtime](images/rivals.png)" in shown
    assert shown.endswith("<!-- plot: batches -->\n<!-- end -->\n")
    assert report.show_plots(shown, {"rivals"}) == shown


def test_the_documents_ask_for_tables_that_exist() -> None:
    asked = [
        found[2]
        for document in report.DOCUMENTS
        for found in report.PLACE.finditer(document.read_text())
    ]
    assert {"targets", "dropin"} <= set(asked)
    assert set(asked) <= set(tables.TABLES)


def test_a_run_is_read_back(tmp_path: Path) -> None:
    extra = {"subject": "relprop", "seconds": {"relprop": [2.0], ORT: [1.0]}, "case": "vgg"}
    content = {
        "machine_info": {"relprop": {"processor": "p"}},
        "datetime": "2026-01-02T03:04:05",
        "benchmarks": [{"name": "bench_network[vgg]", "extra_info": extra}],
    }
    (tmp_path / "networks.json").write_text(json.dumps(content))
    results = load(tmp_path)
    assert results.machines["networks"]["date"] == "2026-01-02T03:04:05"
    assert results.find("networks", case="vgg").ratio(ORT).median == 2


PRINTED = (
    "avx512, peak of fused multiply-adds 139.0 GFLOP/s\n"
    "skip      conv3_2 256x56   split_product a >= 0     "
    "density 0.35      1.00 ms   148.0 GFLOP/s  share 1.10\n"
    "partition conv3_2 256x56   blend                    "
    "density 1.00      1.00 ms   118.0 GFLOP/s  share 0.85\n"
)


def test_kernel_lines_are_understood() -> None:
    skip, partition = rows_of(PRINTED)
    assert skip["layer"] == "conv3_2 256x56"
    assert skip["done"] == pytest.approx(1.10 * 0.35 * 2)
    assert partition["done"] == partition["share"] == 0.85
    with pytest.raises(ValueError, match="no line"):
        rows_of("something else")


def test_unknown_builds_are_refused() -> None:
    with pytest.raises(ValueError, match="'no-such-build' is neither installed"):
        compare.package_path("no-such-build")
    assert compare.package_path("installed") == ""


def test_every_benchmark_is_collected() -> None:
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in (ROOT / "benchmarks").glob("bench_*.py"):
        assert f"benchmarks/{file.name}::bench_" in done.stdout, file.name
