"""Where a measurement was made: processor, versions, and what the machine can do at best."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import relprop as rp
from benchmarks import ROOT

PROGRAMS = ROOT / "build" / "bench" / "tests" / "cpp"
RIVALS = ("onnxruntime", "torch", "zennit", "captum")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def provenance(n_threads: int) -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "n_threads": n_threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "relprop": rp.info(),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("numpy", *RIVALS)},
    }


def program(name: str, *arguments: str) -> str:
    """Output of one of the C++ programs.

    Raises:
        FileNotFoundError: it has not been built.
        subprocess.CalledProcessError: it failed.
    """
    path = PROGRAMS / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not built; `make bench-programs` builds it")
    return subprocess.run([path, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def limits(n_threads: int, read_bytes: int) -> dict[str, float]:
    """Measured now: "fma_gflops" of the instruction set in use, "read_gbs" from a buffer of so many
    bytes that n_threads share, "memory_gbs" from one that no cache holds.
    """
    found: dict[str, float] = json.loads(
        program("bench_machine", rp.info()["isa"], str(n_threads), str(read_bytes))
    )
    return found
