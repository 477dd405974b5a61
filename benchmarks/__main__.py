"""Measures, reports and compares.

python -m benchmarks [PART ...]         measure, all parts or some, and report
python -m benchmarks report             report what has been measured
python -m benchmarks compare BASE ...   compare two builds, see compare --help
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import relprop as rp
from benchmarks import RESULTS, ROOT, compare, report
from benchmarks.records import load
from benchmarks.tables import TABLES

PARTS = sorted(file.stem.removeprefix("bench_") for file in ROOT.glob("benchmarks/bench_*.py"))
NOTHING_SELECTED = 5  # of pytest: a part of which --quick leaves nothing
QUICK = ["--budget=1", "--fast-rivals", "-m", "not full"]
# A full run measures these parts once more with the instruction set of more machines.
ALSO = {"amx": "avx512", "avx512": "avx2"}
ALSO_PARTS = {
    "kernels": ["--fast-rivals"],
    "latency": ["--budget=2"],
    "networks": ["--budget=2", "--fast-rivals", "-k", "8-alpha"],
}
# Rivals are held to the instruction set where they can be. ONNX Runtime cannot.
LIMITED = {
    "avx2": {
        "RELPROP_ISA": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
}


def measure(part: str, isa: str, options: list[str]) -> int:
    """Runs one part in a process of its own; its exit status."""
    file = RESULTS / isa / f"{part}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", f"benchmarks/bench_{part}.py", "-p", "no:cacheprovider"),
        *("--benchmark-json", str(file), "--benchmark-columns=min,median,iqr,rounds"),
        *("-q", *options),
    ]
    environment = os.environ | LIMITED.get(isa, {"RELPROP_ISA": isa})
    print(f"== {part}, {isa}", flush=True)
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return 0 if status == NOTHING_SELECTED else status


def show(isa: str) -> None:
    file = report.write(load(RESULTS / isa), RESULTS / isa)
    print(f"\n{isa}: what the targets ask for; all tables and plots: {file.relative_to(ROOT)}\n")
    print(TABLES["targets"](load(RESULTS / isa)))


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "report"]))
    parser.add_argument("--quick", action="store_true", help="few cases, few rounds: 4 minutes")
    parser.add_argument("--isa", help="instruction set to force, such as avx2")
    parser.add_argument("--threads", type=int, help="of everyone; default: all cores")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/ as well")
    options = parser.parse_args(given)
    for part in options.parts:
        if part not in (*PARTS, "report"):
            parser.error(f"no part '{part}'; parts: {', '.join([*PARTS, 'report'])}")
    return options


def main() -> int:
    given = sys.argv[1:]
    if given[:1] == ["compare"]:
        return compare.main(given[1:])
    options = arguments(given)
    isa = options.isa or rp.info()["isa"]
    more = [f"--threads={options.threads}"] if options.threads else []
    runs = []
    if options.parts != ["report"]:
        effort = QUICK if options.quick else []
        runs = [(part, isa, effort) for part in options.parts or PARTS]
        everything = not (options.parts or options.quick or options.isa)
        if everything and isa in ALSO:
            runs += [(part, ALSO[isa], effort) for part, effort in ALSO_PARTS.items()]
    failed = [(part, isa) for part, isa, effort in runs if measure(part, isa, [*effort, *more])]
    if isa not in report.measured():
        print(f"nothing has been measured with {isa}", file=sys.stderr)
        return 1
    for each in dict.fromkeys([isa, *(isa for _, isa, _ in runs)]):
        show(each)
    if options.docs:
        report.update_documents(isa)
    for part, which in failed:
        print(f"FAILED: {part}, {which}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
