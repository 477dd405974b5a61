"""What this build is and what it will use."""

from __future__ import annotations

from typing import Any

from relprop import _core


def info() -> dict[str, Any]:
    """Version, instruction sets, threads and compiler.

    Returns:
        version; isa, the instruction set that new plans use (the environment variable RELPROP_ISA
        forces one); isas, all that this build and this processor have; threads, used by default;
        openmp; compiler.

    Raises:
        ValueError: RELPROP_ISA names one that cannot run here.
    """
    build = _core.build_info()
    return {
        "version": _core.__version__,
        "isa": _core.default_isa(),
        "isas": _core.available_isas(),
        "threads": _core.default_thread_count(),
        "openmp": build["openmp"],
        "compiler": build["compiler"],
    }
