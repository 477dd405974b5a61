"""Compares the speed of two builds of relprop.

Each build is `installed` (what this environment has), a git revision, a wheel, or a folder that
holds a package `relprop`. The two run in turn, every round in new processes, so that neither keeps
the luck of its addresses; results are compared before times are. A difference counts when the
confidence interval of the median ratio leaves 1 out. The intervals of all rows hold together with
95 %, so that one build against itself seldom differs anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import relprop as rp
from benchmarks import ROOT
from benchmarks.agreement import check
from benchmarks.cases import CASES, NoDataError
from benchmarks.paired import Array
from benchmarks.stats import (
    joint,
    least_values,
    median_interval,
    paired_ratios,
    quartiles,
    verdict,
)
from benchmarks.tables import markdown, time
from benchmarks.worker import TASKS

BUILDS = ROOT / "build" / "compare"


def install(source: Path, target: Path) -> Path:
    """Installs a wheel or a source tree into a folder of its own."""
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--upgrade"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(source)]
    subprocess.run(command, check=True)
    return target


def revision(name: str) -> Path:
    """The folder with the package as it was at a git revision, built on first use.

    Raises:
        ValueError: git does not know it.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    found = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise ValueError(f"'{name}' is neither installed, a wheel, a folder nor a git revision")
    commit = found.stdout.strip()
    folder = BUILDS / commit
    if not (folder / "package" / "relprop").is_dir():
        source = folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        install(source, folder / "package")
    return folder / "package"


def package_path(build: str) -> str:
    """What PYTHONPATH has to be for a build; empty for the installed one.

    Raises:
        ValueError: there is no such build.
    """
    if build == "installed":
        return ""
    path = Path(build)
    if path.suffix == ".whl" and path.is_file():
        return str(install(path, BUILDS / path.stem))
    if (path / "relprop").is_dir():
        return str(path.resolve())
    return str(revision(build))


def run_worker(
    package: str, case: str, tasks: Sequence[str], file: Path, *more: str
) -> dict[str, float]:
    """One process; seconds by task."""
    command = [sys.executable, "-m", "benchmarks.worker", case, *more, str(file), *tasks]
    environment = os.environ | {"PYTHONPATH": package}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert package in ("", found["package"]), f"ran {found['package']} instead of {package}"
    seconds: dict[str, float] = found["seconds"]
    return seconds


def results(file: Path) -> dict[str, Array]:
    with np.load(file) as stored:
        return dict(stored)


def measure(
    packages: Sequence[str], case: str, tasks: Sequence[str], rounds: int, *more: str
) -> list[dict[str, list[float]]]:
    """Seconds by build, task and round.

    Raises:
        AssertionError: the builds disagree.
    """
    seconds: list[dict[str, list[float]]] = [{task: [] for task in tasks} for _ in packages]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.npz" for i in range(len(packages))]
        for r in range(rounds):
            for i in range(len(packages))[:: -1 if r % 2 else 1]:
                for task, value in run_worker(packages[i], case, tasks, files[i], *more).items():
                    seconds[i][task].append(value)
            if r == 0:
                base, other = (results(file) for file in files)
                for task in tasks:
                    factor = 2 * CASES[case].amplifies
                    check("the other build", task, other[task], base[task], factor=factor)
    return seconds


def row(task: str, base: Sequence[float], other: Sequence[float], confidence: float) -> list[str]:
    ratios = paired_ratios(other, base)
    low, high = median_interval(ratios, confidence)
    return [
        task,
        time(quartiles(base).median),
        time(quartiles(other).median),
        f"{quartiles(ratios).median:.3f}",
        f"{low:.3f} – {high:.3f}",
        verdict(ratios, confidence),
    ]


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base")
    parser.add_argument("other", nargs="?", default="installed")
    parser.add_argument("--case", nargs="+", choices=CASES, default=["lenet", "squeezenet"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=rp.info()["threads"])
    options = parser.parse_args(given)
    confidence = joint(0.95, len(options.case) * len(options.tasks))
    if options.rounds < least_values(confidence):
        parser.error(f"so many rows need --rounds {least_values(confidence)} at least")
    try:
        packages = [package_path(build) for build in (options.base, options.other)]
        for case in options.case:
            CASES[case].path()
    except (ValueError, NoDataError) as problem:
        parser.error(str(problem))
    header = ["task", options.base, options.other, "ratio", "interval", "the other is"]
    more = (str(options.batch), str(options.threads))
    for case in options.case:
        base, other = measure(packages, case, options.tasks, options.rounds, *more)
        rows = [row(task, base[task], other[task], confidence) for task in options.tasks]
        print(f"\n{CASES[case].title}, batch {options.batch}\n\n{markdown(header, rows)}")
    return 0
