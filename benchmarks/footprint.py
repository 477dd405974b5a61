"""How much memory a heatmap takes, measured from inside a process of its own (Linux).

    python -m benchmarks.footprint relprop input.npz n_threads task network.onnx

Prints JSON, in bytes, all above what the process holds before the network is loaded: "ready", held
after one pass, and "peak", the most during the next.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.rivals import MAKERS, Setting


def held(key: str) -> int:
    """VmRSS, now, or VmHWM, the most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def settle() -> None:
    """Gives what is free back to the system and starts the peak anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def main(engine: str, given: str, n_threads: str, task: str, network: str) -> None:
    with np.load(given) as arrays:
        setting = Setting(Path(network), arrays["x"], arrays["start"], int(n_threads))
    settle()
    before = held("VmRSS")
    run = MAKERS[engine](setting, task)
    run()
    settle()
    ready = held("VmRSS")
    run()
    print(json.dumps({"ready": ready - before, "peak": held("VmHWM") - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
