"""A C++ project that finds relprop in the installed Python package, links it and runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_find_package(tmp_path: Path) -> None:
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if cmake is None or shutil.which("c++") is None:
        pytest.skip("cmake or a C++ compiler is missing")
    package = run(sys.executable, "-m", "relprop", "--cmake-dir").strip()
    if not Path(package).is_dir():
        pytest.skip(f"relprop is not installed as a package with its CMake files ({package})")
    source = Path(__file__).parent / "consume"
    run(cmake, "-S", source, "-B", tmp_path, f"-Drelprop_DIR={package}")
    run(cmake, "--build", tmp_path)
    # z = 5, of which the bias keeps 1; each input gets x w / z of it.
    assert run(tmp_path / "consume").split() == ["5", "6", "-2"]
