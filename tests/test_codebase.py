"""The project as a whole: one version, no stray paths, everything public documented."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import relprop

ROOT = Path(__file__).resolve().parents[1]

FOLDERS_OF_A_MACHINE = re.compile(r"(?<![\w.:/~<-])/(home|mnt|opt|root|tmp|work|Users)/\w")
ALLOWED_INCLUDES = re.compile(r'<[a-z_]+>|"relprop/[a-z_]+\.h"')


def project_files() -> list[Path]:
    """Files that are or may be committed; the whole tree where there is no git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip(f"git does not list the project's files: {listing.stderr.strip()}")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for file in project_files():
        content = file.read_bytes()
        if b"\0" not in content:
            yield file.relative_to(ROOT), content.decode()


def cxx_files(folder: str) -> list[Path]:
    files = [f for f in (ROOT / folder).rglob("*") if f.suffix in (".h", ".cpp", ".inl")]
    assert files, folder
    return files


def includes(file: Path) -> list[str]:
    return re.findall(r"^#include +(\S+)", file.read_text(), re.MULTILINE)


def test_there_is_one_version() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(r"project\(relprop VERSION ([0-9.]+)", cmake)
    assert found
    assert relprop.__version__ == found[1]
    assert importlib.metadata.version("relprop") == found[1]
    assert f"## {found[1]}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_file_names_a_folder_of_one_machine() -> None:
    found = [
        f"{file}:{number}: {line.strip()}"
        for file, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if FOLDERS_OF_A_MACHINE.search(line)
    ]
    assert not found


def test_texts_are_unix_texts() -> None:
    """The formatters see only Python and C++."""
    found = [
        str(file)
        for file, text in texts()
        if "\r" in text or (text and not text.endswith("\n")) or re.search(r"[ \t]+$", text, re.M)
    ]
    assert not found


def test_installed_headers_need_only_the_standard_library() -> None:
    found = [
        f"{file.name}: {name}"
        for file in cxx_files("cpp/include")
        for name in includes(file)
        if not ALLOWED_INCLUDES.fullmatch(name)
    ]
    assert not found


def test_only_parallel_sees_openmp() -> None:
    users = [
        file.name
        for file in cxx_files("cpp")
        if "<omp.h>" in includes(file) or "#pragma omp" in file.read_text()
    ]
    assert users == ["parallel.cpp"]


def test_only_the_bindings_see_python() -> None:
    assert not [f for f in cxx_files("cpp") if any("pybind11" in name for name in includes(f))]


def test_the_package_carries_its_cpp_side() -> None:
    package = Path(relprop.__file__).parent
    for name in (
        "py.typed",
        "_core.pyi",
        "include/relprop/relprop.h",
        "lib/cmake/relprop/relpropConfig.cmake",
    ):
        assert (package / name).is_file(), name


def public_objects() -> dict[str, object]:
    """Names and methods that a user can reach, with what they are bound to."""
    found: dict[str, object] = {}
    for name in relprop.__all__:
        value = getattr(relprop, name)
        if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
            continue
        found[name] = value
        if inspect.isclass(value):
            methods = inspect.getmembers(value, inspect.isfunction)
            own = {k: v for k, v in methods if v.__module__.startswith("relprop")}
            found |= {f"{name}.{k}": v for k, v in own.items() if not k.startswith("_")}
    return found


def test_every_public_name_has_a_docstring() -> None:
    assert len(public_objects()) > 20
    assert not [name for name, value in public_objects().items() if not inspect.getdoc(value)]


def test_every_rule_is_documented() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    rules = ("Epsilon", "ZPlus", "AlphaBeta", "Gamma", "WSquare", "Flat", "ZBox", "Pass", "Norm")
    assert not [rule for rule in rules if f"### {rule}" not in text]
    assert not [rule for rule in rules if not hasattr(relprop, rule)]
